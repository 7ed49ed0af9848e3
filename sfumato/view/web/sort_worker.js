/** The sorting, off the page's thread: messages of sort.js in, orders out. */

import { SortDesk } from "./sort.js";

const sortDesk = new SortDesk();

self.onmessage = (event) => {
  const reply = sortDesk.answer(event.data);
  if (reply) self.postMessage(reply, { transfer: [reply.order.buffer] });
};
