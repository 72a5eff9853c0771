// The last so many things: what the page remembers has a bound.

export class Ring {
  constructor(most) {
    this.most = most;
    this.items = [];
  }

  push(item) {
    this.items.push(item);
    if (this.items.length > this.most) this.items.splice(0, this.items.length - this.most);
  }

  get last() {
    return this.items[this.items.length - 1];
  }
}
