// The card in its frame. No script runs there, whatever the card contains: clicks are handled here.

const TOGGLES = ".js-sb-toggle, .toggleBtn";
const SCHEMES = ["http:", "https:", "mailto:"];

export class Card {
  #frame;
  #loaded;
  #open = new Map(); // sections stay open or closed when the card is rendered again

  constructor(frame) {
    this.#frame = frame;
    const isThere = () => frame.contentDocument?.readyState === "complete" && frame.contentDocument.URL !== "about:blank";
    this.#loaded = isThere() ? Promise.resolve() : new Promise((done) => frame.addEventListener("load", done, { once: true }));
    this.#loaded.then(() => this.#listen());
  }

  async show(html) {
    await this.#loaded;
    const body = this.#frame.contentDocument.body;
    body.innerHTML = html; // as FreeScout does, but in a document of its own, with a policy that loads nothing
    for (const title of body.querySelectorAll(TOGGLES)) {
      title.tabIndex = 0;
      title.setAttribute("role", "button");
      const kept = this.#open.get(this.#name(title));
      if (kept !== undefined) title.parentElement.classList.toggle("open", kept);
      title.ariaExpanded = title.parentElement.classList.contains("open");
    }
  }

  #listen() {
    const page = this.#frame.contentDocument;
    new ResizeObserver(() => { this.#frame.style.height = `${page.body.offsetHeight}px`; }).observe(page.body);
    page.addEventListener("click", (event) => {
      const title = event.target.closest(TOGGLES);
      const link = event.target.closest("a[href]");
      if (title) this.#toggle(title);
      else if (link && SCHEMES.includes(link.protocol)) window.open(link.href, "_blank", "noopener,noreferrer");
      if (title || link) event.preventDefault();
    });
    page.addEventListener("keydown", (event) => {
      if (!event.target.matches(TOGGLES) || !["Enter", " "].includes(event.key)) return;
      this.#toggle(event.target);
      event.preventDefault();
    });
  }

  #toggle(title) {
    const open = title.parentElement.classList.toggle("open");
    title.ariaExpanded = open;
    this.#open.set(this.#name(title), open);
  }

  // The text of a title, and how many titles before it have the same text.
  #name(title) {
    const all = [...title.ownerDocument.querySelectorAll(TOGGLES)];
    const before = all.slice(0, all.indexOf(title)).filter((one) => one.textContent === title.textContent);
    return `${title.textContent}\n${before.length}`;
  }
}
