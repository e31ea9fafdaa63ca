// Replaces the page with a new one every ten seconds. Without this script it reloads itself.
"use strict";

const EVERY = 10_000;

async function refresh() {
  if (document.hidden || !getSelection().isCollapsed) return; // it is in the background, or text is selected
  try {
    const answer = await fetch("./", { cache: "no-store", signal: AbortSignal.timeout(EVERY) });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.title = page.title;
  } catch {
    const time = document.getElementById("time");
    if (!time.classList.contains("late")) time.append(" – no response since then");
    time.classList.add("late");
  }
}

setInterval(refresh, EVERY);
document.addEventListener("visibilitychange", refresh);
