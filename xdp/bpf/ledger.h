/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What became of every frame: frames is the sum of ends, per CPU and without
 * atomics.
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
	END_PASSED,	     /* to the queue's socket */
	END_FLOW_TABLE_FULL, /* a data segment without an entry */
	END_DESCRIBE_ERROR,  /* the frame could not be cut to a segment */
	END_NO_SOCKET,	     /* the queue has no socket */
	ENDS,
};

_Static_assert((int)END_UNDECODABLE == (int)OUTCOME_UNDECODABLE, "ends follow outcomes");

struct ledger {
	__u64 frames;
	__u64 octets; /* of all frames, from the Ethernet header on */
	__u64 ends[ENDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ledger);
} ledger SEC(".maps");

#endif
