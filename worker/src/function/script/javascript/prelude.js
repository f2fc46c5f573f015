// What a script finds beside the language: `console`, and the values of a key.
// Takes the engine's functions and gives a function that makes an iterator over a group's values.
(function (next, print) {
  "use strict";
  const show = (item) => {
    if (typeof item === "string") return item;
    if (item instanceof Error) return `${item}\n${item.stack}`;
    try {
      return JSON.stringify(item) ?? String(item);
    } catch {
      return String(item);
    }
  };
  const log = (...items) => print(items.map(show).join(" "));
  globalThis.print = log;
  globalThis.console = { log, info: log, warn: log, error: log, debug: log };

  class Values extends Iterator {
    #group;
    constructor(group) {
      super();
      this.#group = group;
    }
    next() {
      const value = next(this.#group);
      return { value, done: value === undefined };
    }
  }
  return (group) => new Values(group);
})
