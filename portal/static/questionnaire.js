// Saves each answer as it is given and says so; shows follow-ups. Without this there is the Save button.
import { csrf, renew } from "./session.js";

const form = document.querySelector("form[data-questionnaire]");
const waiting = new Map(); // question → timer of an answer still being typed
const pending = new Set(); // questions that are being sent, or could not be
let queue = Promise.resolve(); // one save after another: the last answer given is the last one kept

const blockOf = (target) => target.closest("[data-question]");

form.addEventListener("input", (event) => {
  const block = blockOf(event.target);
  if (!block || !event.target.matches("textarea, input[type=text], input[type=email]")) return;
  pending.add(block.dataset.question);
  tell(block, "Not saved yet");
  clearTimeout(waiting.get(block.dataset.question));
  waiting.set(block.dataset.question, setTimeout(() => save(block), 1000));
});

form.addEventListener("change", (event) => {
  const block = blockOf(event.target);
  if (block && event.target.name.startsWith("answer.")) save(block);
});

form.addEventListener("upload:done", (event) => attach(blockOf(event.target), event));

form.addEventListener("click", (event) => {
  const button = event.target.closest("button[name=remove]");
  if (!button) return;
  event.preventDefault();
  const block = blockOf(button);
  button.disabled = true;
  send(block, new FormData(), { remove: button.value }, "The file is taken away");
});

form.addEventListener("submit", () => pending.clear());
addEventListener("beforeunload", (event) => {
  if (pending.size) event.preventDefault();
});

function save(block) {
  clearTimeout(waiting.get(block.dataset.question));
  const name = `answer.${block.dataset.question}`;
  const data = new FormData();
  const control = block.querySelector("input[type=radio]") ? block.querySelector("input:checked") : block.querySelector(`[name="${name}"]`);
  if (!control) return;
  send(block, data, { [name]: control.value }, "Saved");
}

function attach(block, event) {
  const question = block.dataset.question;
  const until = block.querySelector(`[name="until.${question}"]`);
  send(block, new FormData(), { [`file.${question}`]: event.detail.evidence, [`until.${question}`]: until.value }, "The file is attached", () => {
    until.value = "";
    event.detail.clear();
  });
}

function send(block, data, values, done, after) {
  const question = block.dataset.question;
  pending.add(question);
  tell(block, "Saving …");
  for (const [name, value] of Object.entries(values)) data.set(name, value);
  queue = queue.then(async () => {
    try {
      const post = () => fetch(form.action, {
        method: "POST",
        body: data,
        headers: { "X-CSRFToken": csrf(), Accept: "application/json" },
      });
      let response = await post();
      if (response.status === 400 && (await renew())) response = await post(); // they have signed in again
      if (response.redirected || response.headers.get("Content-Type") !== "application/json") {
        throw new Error(response.redirected ? "Your session has ended: sign in again in another window, then change the answer once more." : `Not saved (${response.status}). Reload the page.`);
      }
      const state = await response.json();
      const wrong = state.errors[question];
      if (!wrong) {
        pending.delete(question);
        after?.();
      }
      show(state);
      tell(block, wrong ? `Not saved. ${wrong}` : done, Boolean(wrong));
    } catch (error) {
      tell(block, error instanceof TypeError ? "Not saved: no connection. Change it again, or use Save." : error.message, true);
    }
  });
}

function tell(block, text, bad = false) {
  const place = block.querySelector("[data-state]");
  place.textContent = text;
  place.classList.toggle("bad", bad);
  block.querySelector(`[name="answer.${block.dataset.question}"]`)?.classList.toggle("is-invalid", bad);
}

function show(state) {
  for (const [id, question] of Object.entries(state.questions)) {
    const block = document.getElementById(`q-${id}`);
    if (!block) continue;
    block.hidden = !question.visible;
    const files = block.querySelector("[data-files]");
    if (files) files.innerHTML = question.files; // drawn by our own template
    const needs = block.querySelector("[data-needs-file]");
    if (needs) needs.hidden = !question.needs_file;
  }
  for (const [id, words] of Object.entries(state.sections)) {
    const place = document.querySelector(`[data-section="${CSS.escape(id)}"]`);
    place.className = `section-state ${words.state}`;
    place.querySelector("[data-text]").textContent = words.text;
    place.querySelector("[data-sign]").hidden = words.state !== "done";
  }
  const bar = document.querySelector("[data-progress]");
  bar.querySelector("progress").value = state.done;
  bar.querySelector("progress").max = state.total;
  bar.querySelector(".num").textContent = `${state.done} of ${state.total}`;
}
