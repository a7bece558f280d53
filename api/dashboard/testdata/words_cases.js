import { nanoseconds } from "/page/format.js";
import { longest } from "/page/phases.js";
import { owner, verdict } from "/page/verdict.js";
import { equal, test, truth } from "./check.js";
import { at, everyKind, fourWay, halfClosed, refused, reset, unanswered } from "./flows.js";

test("the longest phase names the culprit", () => {
  equal(longest(fourWay()), "application");
  equal(longest(unanswered()), null);
  const v = verdict(fourWay());
  equal(
    [v.culprit, v.headline],
    ["application", "The server’s application took 200 ms in CLOSE-WAIT, 83.3 % of the teardown’s 240 ms."],
  );
  equal(verdict(fourWay({ fin_wait_1_ns: 900e6 })).culprit, "network");
});

test("every kind of close has its words", () => {
  const said = Object.values(everyKind).map((make) => verdict(make()).headline);
  truth(
    said.every((s) => /^[A-Z].*\.$/.test(s)),
    said.join(" | "),
  );
  equal(new Set(said).size, said.length);
  equal(refused.name && verdict(refused()).culprit, "application");
  equal(verdict(unanswered()).headline, "Nothing answered the client’s SYN, which was sent again 3 times.");
  equal(verdict(reset()).headline, "The server reset the connection 5 ms after the client’s FIN.");
  equal(
    verdict(halfClosed()).headline,
    "The server’s application had not closed when the record was written: it sat in CLOSE-WAIT.",
  );
  const live = { ...halfClosed(), end_reason: "" };
  equal(verdict(live).headline, "The server’s application has not closed yet: it sits in CLOSE-WAIT.");
  equal(
    verdict(live, nanoseconds(at(35e9))).headline,
    "The server’s application has not closed yet: it sits in CLOSE-WAIT for 35 s.",
  );
});

test("owners follow the initiator", () => {
  equal(owner("close_wait_ns", { close_initiator: "server" }), "the client’s application");
  equal(owner("last_ack_ns", { close_initiator: "server" }), "the network and the server’s kernel");
});

test("what makes a figure doubtful is said", () => {
  const remarks = verdict(fourWay({ client_fin_retransmits: 1, evidence: "lossy", reuse_after_ns: 2e9 })).remarks.join(
    " ",
  );
  for (const part of ["sent again once", "lost segments", "inside TIME-WAIT"]) truth(remarks.includes(part), remarks);
  equal(verdict(fourWay()).remarks, []);
});
