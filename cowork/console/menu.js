// A menu under a button, a dialog that asks, and the list of projects to go to: all by the keyboard.

import { ago, button, h } from "./dom.js";

let open = null;

export function closeMenu() {
  if (!open) return false;
  const { list, opener } = open;
  open = null;
  list.remove();
  opener.setAttribute("aria-expanded", "false");
  if (list.contains(document.activeElement) || document.activeElement === document.body) opener.focus();
  return true;
}

/** `items` are `[label, action]`, with a third `true` where it is the present one. */
export function openMenu(opener, items) {
  const again = open?.opener === opener;
  closeMenu();
  if (again) return;
  const choose = (action) => () => {
    closeMenu();
    opener.focus();
    action();
  };
  const made = items.map(([label, action, chosen]) =>
    h("button.menu-item", { type: "button", role: chosen === undefined ? "menuitem" : "menuitemradio", "aria-checked": chosen === undefined ? null : String(chosen), tabIndex: -1, onclick: choose(action) }, label),
  );
  const list = h("div.menu", { role: "menu", "aria-label": opener.getAttribute("aria-label") ?? opener.textContent }, made);
  list.addEventListener("keydown", (event) => {
    const at = made.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: made.length - 1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") {
      if (event.key === "Escape") event.preventDefault();
      event.stopPropagation();
      opener.focus();
      closeMenu();
    } else if (to !== undefined) {
      event.preventDefault();
      made[(to + made.length) % made.length].focus();
    }
  });
  document.body.append(list);
  place(list, opener);
  opener.setAttribute("aria-haspopup", "menu");
  opener.setAttribute("aria-expanded", "true");
  open = { list, opener };
  made[Math.max(0, items.findIndex((item) => item[2]))].focus();
}

function place(list, opener) {
  const at = opener.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = list;
  const above = at.bottom + height + 8 > innerHeight && at.top > height + 8;
  list.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
  list.style.top = `${above ? at.top - height - 4 : Math.min(at.bottom + 4, innerHeight - height - 8)}px`;
}

document.addEventListener("pointerdown", (event) => {
  if (open && !open.list.contains(event.target) && !open.opener.contains(event.target)) closeMenu();
});

/** Show a dialog; returns what ends it with a value, which `resolve` gets; Esc ends it with null. */
function opened(dialog, resolve) {
  const finish = (value) => {
    dialog.close();
    dialog.remove();
    resolve(value);
  };
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    finish(null);
  });
  document.body.append(dialog);
  dialog.showModal();
  return finish;
}

/** Ask by a dialog; `fields` are `[name, label, value]`. Resolves to their values, or null. */
export function ask(title, { text = "", fields = [], yes = "OK", no = "Cancel", danger = false, body = null } = {}) {
  return new Promise((resolve) => {
    const inputs = fields.map(([name, label, value]) => {
      const input = h("input", { name, value, id: `ask-${name}`, autocomplete: "off", spellcheck: "false" });
      return [name, input, h("label.field", { for: `ask-${name}` }, h("span", {}, label), input)];
    });
    const values = () => Object.fromEntries(inputs.map(([name, input]) => [name, input.value.trim()]));
    const form = h(
      "div.dialog-body",
      {},
      h("h2", { id: "ask-title" }, title),
      text ? h("p", {}, text) : null,
      body,
      inputs.map(([, , label]) => label),
      h("div.row.end", {}, no && button(no, () => finish(null)), button(yes, () => finish(values()), danger ? "danger" : "primary")),
    );
    const dialog = h("dialog", { "aria-labelledby": "ask-title" }, form);
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.tagName === "INPUT") finish(values());
      event.stopPropagation();
    });
    const finish = opened(dialog, resolve);
    (inputs[0]?.[1] ?? dialog.querySelector(".end button:last-child")).focus();
    inputs[0]?.[1].select();
  });
}

const SHOWN_PROJECTS = 8;

/** Ask which project of `sessions` to go to; its name, or null. A name that is none begins one. */
export function goTo(sessions) {
  return new Promise((resolve) => {
    let rows = [];
    let at = 0;
    const field = h("input", { id: "goto-name", role: "combobox", "aria-expanded": "true", "aria-controls": "goto-list", "aria-label": "Name of a project", placeholder: "Go to a project", autocomplete: "off", spellcheck: "false" });
    const list = h("ul.goto-list", { id: "goto-list", role: "listbox", "aria-label": "Projects" });
    const dialog = h("dialog.goto", { "aria-label": "Go to a project" }, field, list, h("p.faint.small-text.goto-hint", {}, h("kbd", {}, "↑"), h("kbd", {}, "↓"), " choose ", h("kbd", {}, "↵"), " open ", h("kbd", {}, "Esc"), " close"));
    const choose = (place) => {
      at = place;
      for (const [number, option] of [...list.children].entries()) option.setAttribute("aria-selected", String(number === at));
      field.setAttribute("aria-activedescendant", list.children[at]?.id ?? "");
    };
    const draw = () => {
      const wanted = field.value.trim();
      const found = matching(sessions, wanted.toLowerCase()).slice(0, SHOWN_PROJECTS);
      const isNew = wanted && !sessions.some((each) => each.project_id === wanted);
      rows = [...found.map((each) => [each.project_id, each.title || each.project_id, each]), ...(isNew ? [[wanted.slice(0, 200), `Begin “${wanted}”`, null]] : [])];
      list.replaceChildren(...rows.map(([name, label, each], number) => h("li", { role: "option", id: `goto-${number}`, "aria-selected": "false", onclick: () => finish(name), onpointermove: () => at !== number && choose(number) }, h("span.goto-name", {}, label), h("span.goto-words.soft.small-text", {}, each?.last_words ?? ""), h("span.soft.small-text.num", {}, each?.last_used_at ? ago(each.last_used_at) : ""))));
      choose(0);
    };
    field.addEventListener("input", draw);
    dialog.addEventListener("click", (event) => event.target === dialog && finish(null));
    dialog.addEventListener("keydown", (event) => {
      event.stopPropagation();
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && rows.length) {
        event.preventDefault();
        choose((at + step + rows.length) % rows.length);
      } else if (event.key === "Enter" && rows[at]) {
        event.preventDefault();
        finish(rows[at][0]);
      }
    });
    draw();
    const finish = opened(dialog, resolve);
    field.focus();
  });
}

/** Those whose name or title has it, first those that begin with it; within these, the newest first. */
function matching(sessions, wanted) {
  if (!wanted) return sessions;
  const names = (each) => [each.project_id, each.title ?? ""].map((name) => name.toLowerCase());
  const has = sessions.filter((each) => names(each).some((name) => name.includes(wanted)));
  const begins = (each) => names(each).some((name) => name.startsWith(wanted));
  return [...has.filter(begins), ...has.filter((each) => !begins(each))];
}
