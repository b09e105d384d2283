// Where the conversation is scrolled to: it follows the end while one is there, and else stays where it is.

const NEAR_END = 60;
// Heights are fractions of pixels.
const AT_END = 2;
const RESTORING_MS = 4000;
// What a reader may have at the top.
const PLACES = ".question, .blocks > :not(.prose), .section > *, .turn-end > *, .foot";

export class Follow {
  constructor(stream, pill) {
    this.stream = stream;
    this.pill = pill;
    this.follows = true;
    this.top = 0;
    this.wanted = null;
    // Told of after layout, so that nothing is laid out for it alone.
    this.sizes = new ResizeObserver(() => this.#resized());
    stream.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    stream.addEventListener("click", (event) => event.target.closest("[aria-expanded]") && this.hold(), true);
    for (const name of ["wheel", "touchmove", "keydown"]) stream.addEventListener(name, () => (this.wanted = null), { passive: true });
  }

  watch(el) {
    this.sizes.disconnect();
    this.sizes.observe(this.stream);
    this.sizes.observe(el);
    this.follows = true;
    this.wanted = null;
  }

  get left() {
    const { scrollHeight, scrollTop, clientHeight } = this.stream;
    return scrollHeight - scrollTop - clientHeight;
  }

  toEnd() {
    this.follows = true;
    this.wanted = null;
    this.pill.hidden = true;
    this.stream.scrollTop = this.stream.scrollHeight;
    this.top = this.stream.scrollTop;
  }

  /** What is opened is what one wants to read: it does not scroll away. */
  hold() {
    this.follows = false;
  }

  grown() {
    if (!this.follows) this.pill.hidden = false;
  }

  #resized() {
    if (this.wanted) this.#goTo();
    else if (this.follows) this.toEnd();
    else if (this.left < AT_END) this.#reached();
  }

  #reached() {
    this.follows = true;
    this.pill.hidden = true;
  }

  #scrolled() {
    const { left } = this;
    const isUp = this.stream.scrollTop < this.top - 1;
    this.top = this.stream.scrollTop;
    if (this.wanted) return;
    // Whoever goes up stays there, be it by a little; that the frame changes its size moves nobody.
    if (left < AT_END || (left < NEAR_END && !isUp)) this.#reached();
    else if (isUp) this.follows = false;
  }

  /** What stands at the top, to be found again: `{turn, index, offset}`; null at the end. */
  place() {
    if (this.wanted) return this.wanted;
    if (this.follows) return null;
    const { left, top, width } = this.stream.getBoundingClientRect();
    for (let y = top + 1; y < top + 200; y += 12) {
      const found = document.elementFromPoint(left + width / 2, y)?.closest(PLACES);
      const turn = found?.closest(".turn");
      if (turn) return { turn: turn.dataset.turn, index: [...turn.querySelectorAll(PLACES)].indexOf(found), offset: top - found.getBoundingClientRect().top };
    }
    return null;
  }

  /** Go back there, as soon as so much is drawn. */
  restore(place) {
    this.follows = false;
    this.wanted = place;
    clearTimeout(this.restoring);
    this.restoring = setTimeout(() => (this.wanted = null), RESTORING_MS);
    this.#goTo();
  }

  #goTo() {
    const { turn, index, offset } = this.wanted;
    const found = this.stream.querySelector(`.turn[data-turn="${CSS.escape(turn)}"]`)?.querySelectorAll(PLACES)[index];
    if (!found) return;
    const off = found.getBoundingClientRect().top + offset - this.stream.getBoundingClientRect().top;
    if (Math.abs(off) > 1) this.stream.scrollTop += off;
    this.top = this.stream.scrollTop;
  }
}
