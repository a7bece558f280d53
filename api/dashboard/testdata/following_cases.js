import { Following } from "/page/following.js";
import { readEvents } from "/page/stream.js";
import { settle, standIn, until } from "./clock.js";
import { equal, test, truth } from "./check.js";

const second = 1000;
const filters = (kind) => new URLSearchParams({ close_kind: kind });
const flow = (n) => `id: h-${n}\nevent: flow\ndata: {"flow_id":"${n}"}\n\n`;
const answer = (to) => ({ flows: [], next_cursor: null, history: { overwritten: 0, records: to } });

// A table that is followed: what it was given to show, how often its stream was
// over, and whether it is held.
class Table {
  constructor(clock, asked) {
    Object.assign(this, { clock, asked, shown: [], ended: 0, held: false });
    this.following = new Following(
      (newest, always) => {
        if (this.held && !always) return false;
        this.shown.push(newest.latest().flows.map((f) => f.flow_id).join(" "));
        return true;
      },
      () => this.ended++,
    );
  }

  begin(kind = "reset") {
    return this.following.begin(filters(kind), 10);
  }

  // opened begins, and answers with a stream.
  async opened(kind) {
    const [count, began] = [this.asked.length, this.begin(kind)];
    await until(() => this.asked.length > count, "a stream is asked for");
    const stream = this.asked.at(-1).open();
    await began;
    truth(this.following.live, "a stream that was answered is not open");
    return stream;
  }

  // refused begins, and answers with a refusal.
  async refused(refuse = (one) => one.refuse()) {
    const [count, began] = [this.asked.length, this.begin()];
    await until(() => this.asked.length > count, "a stream is asked for");
    refuse(this.asked.at(-1));
    await began;
    truth(!this.following.live, "a stream that was refused is open");
  }

  // waits is for how long, in s, nothing is asked although the table begins.
  async waits() {
    const count = this.asked.length;
    for (let waited = 0; waited <= 100; waited++) {
      this.begin();
      await settle();
      if (this.asked.length > count) {
        this.asked.at(-1).refuse();
        await until(() => this.following.running === null, "a refusal is taken");
        return waited;
      }
      await this.clock.pass(second);
    }
    return Infinity;
  }
}

const followed = (name, body) =>
  test(name, () =>
    standIn(async (clock, asked) => {
      const table = new Table(clock, asked);
      try {
        await body(table, clock, asked);
      } finally {
        table.following.stop();
      }
    }),
  );

followed("a stream that cannot be had is asked for less and less often, once a minute at least", async (table) => {
  await table.refused();
  const waits = [];
  while (waits.length < 7) waits.push(await table.waits());
  equal(waits, [2, 4, 8, 16, 32, 60, 60]);
  equal(table.ended, 0);
});

followed("an appliance that does not answer is waited for as one that refuses", async (table, clock, asked) => {
  await table.refused((one) => one.fail());
  equal(await table.waits(), 2);
  await clock.pass(4 * second);
  table.begin();
  await until(() => asked.length === 3, "a stream is asked for");
  await clock.pass(2.9 * second);
  truth(!asked[2].signal.aborted, "it was given up before 3 s");
  await clock.pass(0.2 * second);
  truth(asked[2].signal.aborted, "it is still waited for after 3 s");
  equal(await table.waits(), 8);
});

followed("a stream that lived for a while is no failure; one that ends at once is", async (table, clock) => {
  await table.refused();
  await clock.pass(2 * second);
  await table.refused();
  await clock.pass(4 * second);
  const first = await table.opened();
  first.end();
  await until(() => table.ended === 1, "the end is told of");
  equal(await table.waits(), 8);
  await clock.pass(16 * second);
  const longer = await table.opened();
  await clock.pass(31 * second);
  longer.break(); // which is an end like another
  await until(() => table.ended === 2, "the end is told of");
  equal(await table.waits(), 2);
});

followed("another question does not wait for the failures of the one before, nor one after a stop", async (table, _, asked) => {
  await table.refused();
  table.begin();
  await settle();
  equal(asked.length, 1);
  const stream = await table.opened("refused");
  equal(asked.map(({ url }) => url), ["/v1/stream?close_kind=reset", "/v1/stream?close_kind=refused"]);
  table.begin("refused"); // which it has already
  await settle();
  equal(asked.length, 2);
  table.following.stop();
  truth(stream.signal.aborted, "a stream that was stopped goes on");
  await table.opened("refused");
  equal([asked.length, table.ended], [3, 0]);
});

followed("another question ends the stream of the one before, and nothing of that is shown", async (table, clock) => {
  const before = await table.opened("reset");
  table.following.answered(answer(0));
  before.send(flow(0)); // on its way
  await settle();
  const after = await table.opened("refused");
  truth(before.signal.aborted, "both streams are read");
  table.following.answered(answer(1));
  after.send(flow(5));
  await clock.pass(second);
  equal(table.shown, ["", "", "5"]);
});

followed("a stream that is silent for 45 s is over, and a heartbeat is no silence", async (table, clock) => {
  const stream = await table.opened();
  for (let beat = 0; beat < 10; beat++) {
    await clock.pass(44 * second);
    stream.send(":\n\n");
  }
  await clock.pass(44 * second);
  equal([table.ended, table.following.live], [0, true]);
  await clock.pass(second);
  equal([table.ended, table.following.live], [1, false]);
  equal(await table.waits(), 2);
});

test("a stream that is read to its end leaves no clock running", () =>
  standIn(async (clock) => {
    await readEvents(new Response("data: 1\n\n").body, () => {});
    equal(clock.timers.size, 0);
  }));

followed("an answer is good for a minute while its stream is open, and no longer", async (table, clock) => {
  const stream = await table.opened();
  truth(!table.following.current, "there was no answer yet");
  table.following.answered(answer(0));
  await clock.pass(40 * second);
  stream.send(":\n\n");
  await clock.pass(19 * second);
  truth(table.following.current, "it is asked for anew before a minute is over");
  await clock.pass(2 * second);
  truth(!table.following.current, "records that are too old by now stay in the table");
  table.following.answered(answer(0));
  truth(table.following.current, "an answer is asked for again at once");
  stream.end();
  await until(() => table.ended === 1, "the end is told of");
  truth(!table.following.current, "without a stream nothing comes by itself");
});

followed("events are drawn together, and none before there is an answer", async (table, clock) => {
  const stream = await table.opened();
  stream.send(flow(3));
  await clock.pass(second);
  equal(table.shown, []);
  table.following.answered(answer(3));
  equal(table.shown, ["3"]);
  stream.send(flow(4));
  await settle();
  stream.send(flow(5));
  await clock.pass(200);
  equal(table.shown, ["3"]);
  await clock.pass(200);
  equal(table.shown, ["3", "5 4 3"]);
  await clock.pass(10 * second);
  equal(table.shown.length, 2);
});

followed("what is held is shown once it is let go, and an answer at once", async (table, clock) => {
  const stream = await table.opened();
  table.following.answered(answer(0));
  table.held = true;
  stream.send(flow(0));
  await clock.pass(5 * second);
  equal(table.shown, [""]);
  table.held = false;
  await clock.pass(0.4 * second);
  equal(table.shown, ["", "0"]);
  table.held = true;
  table.following.answered(answer(1));
  equal(table.shown.length, 3);
});

followed("nothing is drawn after a stop", async (table, clock) => {
  const stream = await table.opened();
  table.following.answered(answer(0));
  stream.send(flow(0));
  await settle();
  table.following.stop();
  await clock.pass(10 * second);
  equal([table.shown, table.ended], [[""], 0]);
});
