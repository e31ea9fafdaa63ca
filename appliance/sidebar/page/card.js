/* What a served card does in Help Scout's frame. It only sends: no message from outside changes anything here. */
(function () {
  "use strict";
  var desk = "https://secure.helpscout.net";
  var framed = window.parent !== window, frame = window.name, app = frame.replace(/^app-(side-panel-)?/, "");
  var root = document.documentElement, last = 0;

  function send(type, value) {
    /* To the fixed origin: document.referrer is our own after a reload within the frame. */
    window.parent.postMessage({ type: type, value: value, appId: app, iframeId: frame }, desk);
  }

  function button(name, click) {
    var made = document.createElement("button");
    made.type = "button";
    made.className = name;
    made.addEventListener("click", click);
    return made;
  }

  function foldable(title, number) {
    var section = title.parentElement, body = title.nextElementSibling, made;
    if (!section || !body || title.querySelector("a, button")) return;
    function show(open) {
      body.hidden = !open;
      section.classList.toggle("open", open);
      made.setAttribute("aria-expanded", String(open));
    }
    body.id = body.id || "section-" + number;
    made = button("fold", function () { show(body.hidden); });
    made.setAttribute("aria-controls", body.id);
    made.append.apply(made, title.childNodes);
    title.append(made);
    show(section.classList.contains("open"));
  }

  function copyable(paragraph) {
    var text = paragraph.textContent.trim();
    if (!framed || !text) return;
    var made = button("copy", function () {
      send("SET_CLIPBOARD_TEXT", { text: text, successMessage: "Copied" });
    });
    made.textContent = "Copy";
    made.setAttribute("aria-label", "Copy " + text);
    paragraph.append(made);
  }

  function measure() {
    /* Not scrollHeight, which is never less than the frame: a card that folds up must give its room back. In a frame
       that has no width yet, or is hidden, every word would have a line of its own. */
    var box = root.getBoundingClientRect(), height = Math.ceil(box.height);
    if (box.width > 0 && height > 0 && height !== last) {
      last = height;
      send("SET_APP_HEIGHT", height);
    }
  }

  document.querySelectorAll(".js-sb-toggle").forEach(foldable);
  document.querySelectorAll("p.noMargin").forEach(copyable);
  document.querySelectorAll("a[href]").forEach(function (link) {
    /* The page's own URL is a key: it stays where it is. */
    link.rel = "noopener noreferrer";
    if (/^https?:/i.test(link.href)) link.target = "_blank";
  });
  if (framed) {
    measure();
    new ResizeObserver(measure).observe(root);
  }
})();
