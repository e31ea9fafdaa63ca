// The page: the request in the editor is sent again whenever it changes, or anything that the server watches.

import { Card } from "./card.js";
import { Customers } from "./customers.js";
import { Desk } from "./desk.js";

export function element(name, attributes, children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function debounced(milliseconds, call) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}

const $ = (id) => document.getElementById(id);
const card = new Card($("card"));
const desk = new Desk($("page-place"), (text) => { $("page-outcome").textContent = text || pageFacts(); });
const customers = new Customers($("search"), $("customers"), ({ body }) => ask(body, "live"));
let state = null;
let answer = null;
let data = "live"; // the state of the customer data that is shown
let asHtml = false;
let asked = 0;

// Requests

function ask(body, taken) {
  $("request").value = body;
  data = taken;
  drawExamples();
  drawConversation();
  return send();
}

async function send() {
  const mine = ++asked;
  const posted = { body: $("request").value, data };
  const response = await fetch("answer", { method: "POST", body: JSON.stringify(posted) });
  const received = await response.json();
  if (mine !== asked) return;
  answer = received;
  drawAnswer();
  drawFaults();
}

// Rendering

function drawAnswer() {
  const { status, outcome, size, milliseconds, html, shown, text } = answer;
  $("outcome").textContent = `${status} ${outcome} · ${size.toLocaleString("en")} bytes · ${milliseconds.toFixed(2)} ms`;
  $("answer").textContent = asHtml && html !== null ? html : text;
  $("card").hidden = html === null;
  $("refusal").hidden = html !== null;
  if (html === null) $("refusal").textContent = `${text.trim()} Agents would see an error message of the help desk instead of this text.`;
  else card.show(shown);
  drawPage();
}

function drawPage() {
  const { page } = answer;
  $("platform").hidden = page === null;
  document.querySelector("main").classList.toggle("both", page !== null);
  if (page === null) return desk.hide();
  $("visit").textContent = page.request;
  desk.show(page.url);
}

function pageFacts() {
  const { outcome, size } = answer.page;
  return `${outcome} · ${size.toLocaleString("en")} bytes`;
}

function drawFaults() {
  const faults = [...state.faults, ...(answer?.faults ?? [])];
  const warnings = [...state.warnings, ...(answer?.warnings ?? [])];
  const drawn = [...faults, ...warnings].map(({ place, what, lines }, index) => element("div", {
    class: index < faults.length ? "fault" : "fault warning",
  }, [
    element("strong", {}, [place]),
    what,
    ...(lines.length ? [element("pre", {}, lines.map(({ number, text, faulty }) =>
      element("span", faulty ? { class: "here" } : {}, [`${String(number).padStart(4)}  ${text}`])))] : []),
  ]));
  const before = $("faults").textContent;
  if (drawn.map((fault) => fault.textContent).join("") !== before) $("faults").replaceChildren(...drawn);
  $("faults").hidden = !drawn.length;
  $("note").hidden = !faults.length;
  $("note").textContent = answer?.faults.length
    ? "The template failed on this customer. Agents see this card instead:"
    : "See the errors above. This is the last working version:";
}

function drawState() {
  $("app").textContent = state.app;
  $("files").textContent = state.files.join(" · ");
  const read = state.as_of && new Date(state.as_of * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  const facts = state.rows === null ? "no customers yet" : `${state.rows.toLocaleString("en")} customer${state.rows === 1 ? "" : "s"}, as of ${read}`;
  $("facts").textContent = state.importing ? `${facts} · importing …` : facts;
}

function drawExamples() {
  $("examples").replaceChildren(...state.examples.map((example) => {
    const button = element("button", { type: "button" }, [example.title]);
    button.ariaPressed = example.body === $("request").value && example.data === data;
    button.addEventListener("click", async () => {
      const place = state.examples.indexOf(example);
      customers.unchoose();
      await ask(example.body, example.data);
      $("examples").children[place]?.firstChild.focus();
    });
    return element("li", {}, [button]);
  }));
}

function drawConversation() {
  let message;
  try {
    message = JSON.parse($("request").value) ?? {};
  } catch {
    return; // half typed: nothing changes
  }
  const { ticket, customer, mailbox } = message;
  const name = [customer?.fname, customer?.lname].filter(Boolean).join(" ") || "No name";
  const address = customer?.email || [customer?.emails ?? []].flat()[0] || "no address";
  const initials = name.split(/\s+/).map((part) => [...part][0]).slice(0, 2).join("").toUpperCase();
  $("subject").textContent = ticket ? ticket.subject || "(no subject)" : "New conversation";
  $("number").textContent = ticket?.number ? `#${ticket.number}` : "";
  $("standing").textContent = ticket ? "Active" : "Draft";
  $("from").textContent = $("who").textContent = name;
  $("to").textContent = mailbox?.email ? `to ${mailbox.email}` : "";
  $("address").textContent = address;
  $("initials").textContent = $("face").textContent = initials;
  document.title = `${name} · sidebard preview`;
}

function connect(text, kind) {
  $("connection").textContent = text;
  $("connection").className = `connection ${kind}`;
}

// Events

const events = new EventSource("events");
events.addEventListener("open", () => connect("Live", "live"));
events.addEventListener("error", () => connect("Disconnected; restart sidebard preview", "lost"));
events.addEventListener("message", async (event) => {
  const before = state;
  state = JSON.parse(event.data);
  drawState();
  drawFaults();
  drawExamples();
  if (before?.as_of !== state.as_of || before?.rows !== state.rows) await customers.search();
  if (answer) send();
  else if (state.rows !== null) customers.chooseFirst();
  else if (!state.importing) ask(state.examples[0].body, "live");
});

const sendSoon = debounced(200, send);
$("request").addEventListener("input", () => {
  customers.unchoose();
  drawExamples();
  drawConversation();
  sendSoon();
});
for (const [id, wanted] of [["as-json", false], ["as-html", true]]) {
  $(id).addEventListener("click", () => {
    asHtml = wanted;
    $("as-json").ariaPressed = !wanted;
    $("as-html").ariaPressed = wanted;
    if (answer) drawAnswer();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, textarea")) return;
  event.preventDefault();
  $("search").focus();
});
