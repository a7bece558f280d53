/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What became of every frame, per CPU and without atomics. Every frame ends in one
 * way: their sum is the number of frames.
 */
#ifndef FINWAIT_LEDGER_H
#define FINWAIT_LEDGER_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "parse.h"

/* The ways a frame ends; those of the parser first, in the order of enum outcome. */
enum end {
	END_COUNTED, /* in the flow table, of no further interest */
	END_NOT_IP,
	END_NOT_TCP,
	END_FRAGMENT,
	END_UNDECODABLE,
	END_PASSED,	     /* to user space */
	END_FLOW_TABLE_FULL, /* a data segment without an entry */
	END_DESCRIBE_ERROR,  /* the frame could not be cut to a segment */
	END_NO_SOCKET,	     /* the queue has no socket */
	/* On a gateway, in place of the last two. */
	END_RING_FULL, /* the ring had no room */
	END_HELD_BACK, /* the limit of segments was reached */
	ENDS,
};

_Static_assert((int)END_UNDECODABLE == (int)OUTCOME_UNDECODABLE, "ends follow outcomes");

struct ledger {
	/*
	 * Of all frames, from the Ethernet header on. What a frame of several buffers
	 * carries behind a packet that ends in the first one is left out.
	 */
	__u64 octets;
	/* The clock of this CPU, see tick(); here, where data finds it in the same cache line. */
	__u64 tick_jiffies;
	__s64 tick_at; /* ns, CLOCK_MONOTONIC */
	__u64 ends[ENDS];
	/* By sequence: notes that made room before their answer came, see awaited.h. */
	__u64 fin_acks_forgotten;
	__u64 syn_ack_answers_forgotten;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ledger);
} ledger SEC(".maps");

/*
 * The time to the kernel's tick, ns of CLOCK_MONOTONIC. The coarse clock moves with
 * the tick alone, and is asked only where that has come: jiffies are a load. They are
 * set a little before the clock, so that this lags by two ticks at most.
 */
static __always_inline __s64 tick(struct ledger *l)
{
	__u64 jiffies = bpf_jiffies64();

	if (l->tick_jiffies != jiffies) {
		l->tick_jiffies = jiffies;
		l->tick_at = bpf_ktime_get_coarse_ns();
	}
	return l->tick_at;
}

#endif
