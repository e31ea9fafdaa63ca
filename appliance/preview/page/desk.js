// What Help Scout does for a page: puts it into a frame, takes the height that it is told, and copies text.

const SANDBOX = "allow-scripts allow-popups allow-popups-to-escape-sandbox";

export class Desk {
  #place;
  #notice;
  #frame = null;

  constructor(place, notice) {
    this.#place = place;
    this.#notice = notice;
    addEventListener("message", ({ source, data }) => {
      // A sandboxed frame has no origin; who speaks is known by the window.
      const frame = this.#frame;
      if (frame && source === frame.contentWindow && data?.iframeId === frame.name) this.#hear(data);
    });
  }

  show(url) {
    this.#notice("");
    if (this.#frame) {
      this.#frame.contentWindow.location.replace(new URL(url, location)); // adds nothing to the history
      return;
    }
    this.#frame = document.createElement("iframe");
    Object.assign(this.#frame, { id: "page", name: "app-preview", title: "The page", src: url });
    this.#frame.sandbox = SANDBOX;
    this.#place.replaceChildren(this.#frame);
  }

  hide() {
    this.#frame = null;
    this.#place.replaceChildren();
  }

  #hear({ type, value }) {
    if (type === "SET_APP_HEIGHT" && Number.isFinite(value)) this.#frame.style.height = `${value}px`;
    else if (type === "SET_CLIPBOARD_TEXT") this.#copy(value);
  }

  async #copy({ text, successMessage }) {
    try {
      await navigator.clipboard.writeText(text);
      this.#notice(successMessage);
    } catch {
      this.#notice("The browser did not allow to copy.");
    }
  }
}
