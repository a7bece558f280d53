//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The gateway: counts every TCP segment that passes an interface, and writes the control
 * segments into rings that user space reads. Packets go on as if it was not there.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "frame_skb.h"

#include "flows.h"
#include "follow.h"
#include "headers.h"
#include "ledger.h"
#include "limit.h"
#include "owner.h"
#include "parse.h"
#include "rings.h"
#include "segment.h"

static __always_inline int pass(struct __sk_buff *ctx, struct ledger *l, const struct packet *p,
				const struct standing *t)
{
	if (is_held_back(t))
		return finish_frame(l, END_HELD_BACK, VERDICT_NEXT);
	return finish_frame(l, write_segment(ctx, p, t), VERDICT_NEXT);
}

/* At an interface; loaded once for what arrives there and once for what leaves. */
SEC("tc")
int finwait_gateway(struct __sk_buff *ctx)
{
	struct ledger *l;
	__u32 zero = 0;

	l = bpf_map_lookup_elem(&ledger, &zero);
	if (l)
		count_frame(ctx, l);
	return VERDICT_NEXT;
}

/* The shared types that no map speaks of: named here so that the object's BTF has them. */
struct vocabulary {
	struct owned_segment segment;
	enum segment_mark segment_mark;
	enum end end;
};
struct vocabulary *vocabulary __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
