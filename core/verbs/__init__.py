"""One public function for each command: check, train, evaluate, predict and the others."""
