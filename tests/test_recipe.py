from dataclasses import replace

import pytest

from core.base.machine import Machine
from core.base.settings import Question
from core.errors import ConfigError
from core.training.recipe import Facts, resolve

QUESTION = Question(app="any", data="folder")
FACTS = Facts(
    n_train=1_000,
    n_classes=5,
    rarest=80,
    size_px=(256, 512),
    machine=Machine(device="cpu", has_bf16=False, cores=2),
)


def settings(facts: Facts = FACTS, app: dict | None = None, **flags: object) -> dict:
    plan = resolve(QUESTION, facts, app_defaults=app or {}, plan={}, flags=flags)
    return plan.config.model_dump()


def test_every_setting_of_a_rule_has_its_reason() -> None:
    plan = resolve(QUESTION, FACTS, app_defaults={}, plan={}, flags={"batch": 8})
    assert plan.reasons["batch"] == "command line"
    assert "1,000 training images" in plan.reasons["epochs"]


def test_another_batch_changes_the_steps_and_not_the_images_seen() -> None:
    assert settings(batch=16)["epochs"] == settings()["epochs"] == settings(batch=64)["epochs"]


def test_a_domains_batch_shrinks_with_the_data_and_a_users_does_not() -> None:
    few = replace(FACTS, n_train=60)
    # 60 // 8 = 7 images a step, where the domain asked for 16.
    assert settings(few, app={"batch": 16})["batch"] == 7
    assert settings(app={"batch": 16})["batch"] == 16
    assert settings(few, batch=30)["batch"] == 30


def test_size_keeps_the_shape_of_the_images_and_never_enlarges_them() -> None:
    # 224 squared pixels in the shape 1 : 2 are 158 x 317, in whole strides 160 x 320.
    assert settings()["size_px"] == (160, 320)
    assert settings(side_px=361)["size_px"] == (256, 512)
    assert settings(side_px=1_000)["size_px"] == (256, 512)
    assert settings(replace(FACTS, size_px=(3_000, 4_000)), side_px=361)["size_px"] == (320, 416)


def test_a_processor_tunes_all_stages_of_small_images_and_for_as_long_as_an_accelerator() -> None:
    gpu = replace(FACTS.machine, device="cuda")
    small, larger = replace(FACTS, size_px=(96, 64)), replace(FACTS, size_px=(97, 64))
    for facts, stages, epochs in ((small, 0, 19), (larger, 3, 8), (FACTS, 3, 8)):
        found = settings(facts)
        # 600 updates of 32 images are 19.2 epochs of 1,000, and 0.4 times as many 7.7.
        assert (found["freeze_stages"], found["epochs"]) == (stages, epochs)
        assert settings(replace(facts, machine=gpu))["epochs"] == 19
    assert settings(small, freeze_stages=2)["freeze_stages"] == 2


def test_small_images_are_enlarged_to_a_size_that_leaves_places_and_no_further() -> None:
    tiny = replace(FACTS, size_px=(28, 28))
    # The last stage sees 64 / 32 = 2 places along each side.
    for app in ({"size_px": (256, 256)}, {"side_px": 361}, {}):
        plan = resolve(QUESTION, tiny, app_defaults=app, plan={}, flags={})
        reason = plan.reasons["size_px"]
        assert plan.config.size_px == (64, 64)
        assert reason.startswith("median image 28 x 28: enlarged to 64 x 64")
    # A domain's own shape is kept, and what the user asks for is done.
    films = replace(FACTS, size_px=(200, 150))
    assert settings(films, app={"size_px": (512, 256)})["size_px"] == (192, 96)
    assert settings(tiny, app={"size_px": (256, 256)}, size_px=(256, 256))["size_px"] == (256, 256)


def test_a_size_that_the_images_do_not_have_is_not_claimed() -> None:
    small = replace(FACTS, size_px=(192, 192))
    plan = resolve(QUESTION, small, app_defaults={"side_px": 361}, plan={}, flags={})
    assert plan.config.size_px == (192, 192)
    assert plan.reasons["size_px"] == (
        "median image 192 x 192, not enlarged to 361 squared pixels (side_px)"
    )


def test_updates_are_told_of_the_batch_that_is_used() -> None:
    # The rule takes 0.4 x 600 updates of 32 images, 7.68 epochs of 1,000: 8 epochs of 62 batches.
    plan = resolve(QUESTION, FACTS, app_defaults={"batch": 16}, plan={}, flags={})
    assert plan.reasons["epochs"] == "496 updates of 16 for 1,000 training images"


def test_random_weights_overrule_what_a_domain_found_on_pretrained_ones() -> None:
    app = {"lr_backbone": 1e-4, "stage_decay": 0.7}
    assert settings(app=app)["lr_backbone"] == 1e-4
    from_nothing = settings(app=app, weights="none")
    assert (from_nothing["lr_backbone"], from_nothing["stage_decay"]) == (4e-3, 1.0)
    assert settings(app=app, weights="none", stage_decay=0.9)["stage_decay"] == 0.9


def test_a_flag_overrules_the_preset_and_the_preset_the_rule() -> None:
    assert settings(preset="probe")["epochs"] == 0
    assert settings(preset="probe", epochs=3)["epochs"] == 3


def test_a_rare_class_is_drawn_more_often() -> None:
    assert settings(replace(FACTS, rarest=9))["imbalance"] == "sqrt"
    assert settings()["imbalance"] == "none"


def test_a_batch_larger_than_the_data_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match=r"larger than the 20 training images. Pass --batch 5"):
        settings(replace(FACTS, n_train=20), batch=64)


@pytest.mark.parametrize(
    ("preset", "epochs", "folds", "small_share"),
    [("probe", 0, 1, 0.0), ("fast", 12, 1, 0.7), ("default", 24, 1, 0.0), ("best", 24, 5, 0.0)],
)
def test_presets_change_what_they_say(
    preset: str, epochs: int, folds: int, small_share: float
) -> None:
    # 600 updates of 32 images are 24 epochs of 800 images.
    machine = Machine(device="cuda", has_bf16=False, cores=4)
    facts = replace(FACTS, n_train=800, size_px=(300, 300), machine=machine)
    plan = resolve(QUESTION, facts, app_defaults={}, plan={}, flags={"preset": preset})
    assert (plan.config.epochs, plan.config.folds) == (epochs, folds)
    assert plan.config.small_share == small_share
    assert plan.reasons["preset"] == "command line"
