// Fetches the page again and puts the new one in the place of the old; without this script it reloads itself.
"use strict";

const EVERY = 10_000;

async function renew() {
  if (document.hidden || !getSelection().isCollapsed) return; // nobody looks, or somebody is copying
  try {
    const answer = await fetch("./", { cache: "no-store", signal: AbortSignal.timeout(EVERY) });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.title = page.title;
  } catch {
    const time = document.getElementById("time");
    if (!time.classList.contains("late")) time.append(" – no answer since then");
    time.classList.add("late");
  }
}

setInterval(renew, EVERY);
document.addEventListener("visibilitychange", renew);
