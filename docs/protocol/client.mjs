// A client of `mmr serve --stdio` for Node, without dependencies.
//   node client.mjs "mmr serve --stdio --library songs" book.cbz
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

export class Mmr {
  #next = 1;
  #waiting = new Map();

  /** Start the server; `ready` resolves to its first event. */
  constructor(command, args, { onProgress = () => {} } = {}) {
    this.child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.ready = new Promise((resolve, reject) => {
      this.child.once("error", reject);
      this.child.once("exit", (code) => this.#end(new Error(`mmr ended with ${code}`), reject));
      createInterface({ input: this.child.stdout }).on("line", (line) => {
        const message = JSON.parse(line);
        if (message.event === "ready") resolve(message);
        else if (message.event === "progress") onProgress(message);
        else this.#settle(message);
      });
    });
  }

  /** Ask; resolves to the result, rejects with an Error that has `code` and `hint`. */
  ask(method, params = {}) {
    const id = this.#next++;
    this.child.stdin.write(JSON.stringify({ id, method, params }) + "\n");
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #settle({ id, result, error }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (!waiting) return;
    if (error) waiting.reject(Object.assign(new Error(error.message), error));
    else waiting.resolve(result);
  }

  #end(error, reject) {
    reject(error);
    for (const { reject: refuse } of this.#waiting.values()) refuse(error);
    this.#waiting.clear();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [command, ...args] = process.argv[2].split(" ");
  const mmr = new Mmr(command, args);
  const { protocol } = await mmr.ready;
  await mmr.ask("index");
  const book = await mmr.ask("open_book", { path: process.argv[3] });
  console.log(`protocol ${protocol}, ${book.title}, ${book.pages.length} pages`);
  for (let page = 0; page < book.pages.length; page += 1) {
    const { action, track, reason } = await mmr.ask("turn", { page });
    console.log(`${page + 1}: ${action} ${track ? track.title : "-"} (${reason})`);
  }
  await mmr.ask("shutdown");
}
