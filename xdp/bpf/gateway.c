//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The gateway: counts every TCP segment that passes an interface, and gives clones of
 * the control segments to a veth pair, whose far end hands them to user space. Packets
 * go on as if it was not there.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "frame_skb.h"

#include "clone.h"
#include "flows.h"
#include "follow.h"
#include "headers.h"
#include "ledger.h"
#include "parse.h"
#include "segment.h"

/* Sockets by queue of the pair. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

static __always_inline int pass(struct __sk_buff *ctx, struct ledger *l, const struct packet *p,
				const struct standing *t)
{
	return finish_frame(l, clone(ctx, p, t), VERDICT_NEXT);
}

/* At an interface; loaded once for what arrives there and once for what leaves. */
SEC("tc")
int finwait_gateway(struct __sk_buff *ctx)
{
	struct frame frame;
	struct ledger *l;
	__u32 zero = 0;

	l = bpf_map_lookup_elem(&ledger, &zero);
	if (!l)
		return VERDICT_NEXT;
	open_frame(ctx, &frame);
	if (bare || !likely(count_plain(ctx, l, &frame)))
		count_general(ctx, l);
	return VERDICT_NEXT;
}

/*
 * Makes the clone a struct segment. Cutting makes it linear, and no super-packet any
 * more. Where the kernel refuses that, of a packet that it has put into a tunnel, the
 * struct goes before it, and the far end cuts off what follows.
 */
static __always_inline long cut(struct __sk_buff *ctx, const struct segment *s)
{
	if (bpf_skb_change_tail(ctx, SEGMENT_SIZE, 0) &&
	    (ctx->gso_size || bpf_skb_change_head(ctx, SEGMENT_SIZE, 0)))
		return -1;
	return bpf_skb_store_bytes(ctx, 0, s, SEGMENT_SIZE, 0);
}

/* What leaves by the near end of the pair: clones alone. */
SEC("tc")
int finwait_near(struct __sk_buff *ctx)
{
	struct passage *passage;
	struct parcel *parcel;
	__u32 zero = 0;

	parcel = bpf_map_lookup_elem(&parcels, &zero);
	passage = bpf_map_lookup_elem(&passages, &zero);
	if (!parcel || !passage)
		return VERDICT_DROP;
	if (!parcel->ready) {
		passage->foreign++;
		return VERDICT_DROP;
	}
	parcel->ready = 0;
	if (cut(ctx, &parcel->segment)) {
		passage->cut_errors++;
		return VERDICT_DROP;
	}
	passage->described++;
	ctx->queue_mapping = parcel->queue + 1;
	return VERDICT_PASS;
}

/*
 * A step between an interface without link headers and the near end: the kernel gives
 * no clone without one to an interface that has them.
 */
SEC("tc")
int finwait_step(struct __sk_buff *ctx)
{
	if (bpf_skb_change_head(ctx, sizeof(struct ether_header), 0))
		return VERDICT_DROP;
	return bpf_redirect(near_end, 0);
}

/* What arrives at the far end, in a namespace where there is nothing else. */
SEC("xdp.frags")
int finwait_far(struct xdp_md *ctx)
{
	struct passage *passage;
	__u32 zero = 0;
	long excess;

	passage = bpf_map_lookup_elem(&passages, &zero);
	if (!passage)
		return XDP_DROP;
	passage->arrived++;
	excess = bpf_xdp_get_buff_len(ctx) - SEGMENT_SIZE;
	if (excess < 0 || (excess && bpf_xdp_adjust_tail(ctx, -excess))) {
		passage->describe_error++;
		return XDP_DROP;
	}
	if (bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP) == XDP_REDIRECT)
		return XDP_REDIRECT;
	passage->no_socket++;
	return XDP_DROP;
}

/* The shared types that no map speaks of: named here so that the object's BTF has them. */
struct vocabulary {
	struct segment segment;
	enum segment_mark segment_mark;
	enum end end;
};
struct vocabulary *vocabulary __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
