/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reading and closing many entries of the flow table in one system call.
 */
#ifndef FINWAIT_ACCOUNTS_H
#define FINWAIT_ACCOUNTS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "flows.h"
#include "segment.h"

#define BATCH_KEYS  64
#define BATCH_SLOTS 16

enum batch_mode {
	BATCH_PEEK,
	BATCH_TAKE,  /* delete what was read */
	BATCH_SWEEP, /* delete what both directions left before the deadline */
};

/* Written and read by user space through a mapping; one caller owns a slot at a time. */
struct batch {
	struct key keys[BATCH_KEYS];
	struct counters counters[BATCH_KEYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BATCH_SLOTS);
	__type(key, __u32);
	__type(value, struct batch);
} batches SEC(".maps");

/* The context of a run. */
struct request {
	__s64 deadline; /* ns, CLOCK_MONOTONIC; of BATCH_SWEEP */
	__u32 slot;
	__u32 count;
	__u32 mode;
	__u32 unused;
};

static __always_inline int is_over(const struct counters *flow, const struct request *r)
{
	if (r->mode == BATCH_TAKE)
		return 1;
	return r->mode == BATCH_SWEEP && flow->direction[0].last_at < r->deadline &&
	       flow->direction[1].last_at < r->deadline;
}

#endif
