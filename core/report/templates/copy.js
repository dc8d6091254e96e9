"use strict";
// Copies the table above a button as tab-separated text. A cell that a spreadsheet would run gets an apostrophe.
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const cell = (node) => {
      const own = node.cloneNode(true);
      own.querySelectorAll("sup").forEach((mark) => mark.remove());
      const text = own.textContent.replace(/\u2212/g, "-").replace(/\s+/g, " ").trim();
      return /^[=+@]/.test(text) || (text.startsWith("-") && !/^-[\d.,]+ ?%?$/.test(text)) ? "'" + text : text;
    };
    const rows = [...button.closest(".copyable").querySelectorAll("tr")];
    const text = rows.map((row) => [...row.cells].map(cell).join("\t")).join("\n");
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      said = "Copying is not allowed here; select the table";
    }
    button.textContent = said;
  });
}
