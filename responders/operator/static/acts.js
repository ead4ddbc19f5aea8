// Pause and resume: asked once more, sent with the word that only this page knows.
import { byId, element, write } from "./elements.js";
import { fill, texts } from "./writing.js";

const actToken = document.querySelector('meta[name="act"]').content;

/** The label of what can be done with a run. */
export function actLabel(run) {
  if (run.act === null) return null;
  const key = run.act === "pause" ? "pause" : run.state === "planned" ? "start" : "resume";
  return [texts.runs[key], fill(texts.runs[`${key}_named`], run.run)];
}

/** Ask once more. Returns whether the answer was yes. */
function confirmed(question, yes) {
  const dialog = byId("confirm");
  write(byId("confirm-text"), question);
  write(byId("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise(answer => dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true }));
}

async function send(run, act) {
  const response = await fetch(`/runs/${run}/${act}`, { method: "POST", headers: { "X-Sealmint-Act": actToken } });
  const answer = await response.json();
  if (response.ok) return fill(texts.runs[`did_${answer.said}`], run);
  return fill(texts.runs.refused, run, answer.detail ?? answer.error);
}

/** The cell with the button of a run. */
export function actCell(canResume) {
  return (cell, run) => {
    const label = run.act === "resume" && !canResume() ? null : actLabel(run);
    if (label === null) {
      cell.replaceChildren();
      return;
    }
    if (!cell.firstElementChild) cell.append(element("button", { type: "button", onclick: () => begin(cell) }));
    const button = cell.firstElementChild;
    write(button, label[0]);
    button.setAttribute("aria-label", label[1]);
    button.dataset.run = run.run;
    button.dataset.act = run.act;
  };
}

async function begin(cell) {
  const button = cell.firstElementChild, { run, act } = button.dataset;
  if (!await confirmed(fill(texts.runs[`confirm_${act}`], run), button.textContent)) return;
  button.disabled = true;
  try {
    write(byId("said"), await send(run, act));
  } catch {
    write(byId("said"), texts.connection.lost);
  } finally {
    button.disabled = false;
  }
}
