// The search box and its results: a combobox whose list is always open (WAI-ARIA 1.2, combobox).

import { debounced, element } from "./preview.js";

export class Customers {
  #input;
  #list;
  #pick;
  #found = [];
  #active = -1;
  #chosen = null;
  #asked = 0;

  constructor(input, list, pick) {
    [this.#input, this.#list, this.#pick] = [input, list, pick];
    input.addEventListener("input", debounced(120, () => this.search()));
    input.addEventListener("keydown", (event) => this.#press(event));
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays in the box
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option && this.#found.length) this.#choose([...list.children].indexOf(option));
    });
  }

  async search() {
    const asked = ++this.#asked;
    const answer = await fetch(`customers?search=${encodeURIComponent(this.#input.value)}`);
    const found = await answer.json();
    if (asked !== this.#asked) return;
    this.#found = found;
    this.#active = -1;
    this.#draw();
  }

  chooseFirst() {
    if (this.#found.length) this.#choose(0);
  }

  unchoose() {
    this.#chosen = null;
    this.#draw();
  }

  #choose(index) {
    this.#active = index;
    this.#chosen = this.#found[index].body;
    this.#draw();
    this.#pick(this.#found[index]);
  }

  #press(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.#found.length) {
      const from = this.#active < 0 && step < 0 ? 0 : this.#active;
      this.#active = (from + step + this.#found.length) % this.#found.length;
      this.#draw();
      this.#list.children[this.#active].scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && this.#found.length) {
      this.#choose(Math.max(this.#active, 0));
    } else {
      return;
    }
    event.preventDefault();
  }

  #draw() {
    const options = this.#found.map((customer, index) => {
      const option = element("li", { role: "option", id: `customer-${index}` }, [
        element("span", {}, [customer.name]),
        element("span", {
          class: "address",
          ...(customer.address === customer.readable ? {} : { title: customer.address }),
        }, [customer.readable]),
      ]);
      option.ariaSelected = customer.body === this.#chosen;
      option.classList.toggle("active", index === this.#active);
      return option;
    });
    this.#list.replaceChildren(...(options.length ? options : [element("li", { class: "none", role: "option", "aria-disabled": "true" }, ["No customers found."])]));
    if (this.#active < 0) this.#input.removeAttribute("aria-activedescendant");
    else this.#input.setAttribute("aria-activedescendant", `customer-${this.#active}`);
  }
}
