//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The tap: counts every TCP segment that arrives, hands the control segments
 * to the socket of their receive queue, described by a struct segment, and
 * drops everything. finwait_tap counts by flow, finwait_sequence all together.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "frame_xdp.h"

#include "accounts.h"
#include "awaited.h"
#include "describe.h"
#include "flows.h"
#include "follow.h"
#include "ledger.h"
#include "parse.h"
#include "segment.h"
#include "tunnel.h"

/* Sockets by receive queue; every interface has a map of its own. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

static __always_inline int shed(struct ledger *l, const struct frame *f, const struct packet *p)
{
	return 0;
}

static __always_inline int pass(struct xdp_md *ctx, struct ledger *l, const struct packet *p,
				const struct standing *t)
{
	if (describe(ctx, p, t))
		return finish_frame(l, END_DESCRIBE_ERROR, XDP_DROP);
	if (bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP) != XDP_REDIRECT)
		return finish_frame(l, END_NO_SOCKET, XDP_DROP);
	return finish_frame(l, END_PASSED, XDP_REDIRECT);
}

SEC("xdp.frags")
int finwait_tap(struct xdp_md *ctx)
{
	struct ledger *l;
	__u32 zero = 0;

	l = bpf_map_lookup_elem(&ledger, &zero);
	return l ? count_frame(ctx, l) : XDP_DROP;
}

/* Notes the answer that a SYN-ACK or a FIN will have. */
static __always_inline void await(struct ledger *l, struct packet *p, __s64 now)
{
	int forgotten = AWAITED_NOTHING;

	if (control_only || (p->tcp_flags & TCP_RST))
		return;
	if (p->tcp_flags & TCP_FIN)
		forgotten = await_answer(p, p->seq + p->payload + 1, AWAITED_FIN, now);
	else if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		forgotten = await_answer(p, p->seq + 1, AWAITED_SYN_ACK, now);
	if (forgotten == AWAITED_FIN)
		l->fin_acks_forgotten++;
	else if (forgotten == AWAITED_SYN_ACK)
		l->syn_ack_answers_forgotten++;
}

/* Tells whether a segment acknowledges what a SYN-ACK or a FIN waits for. */
static __always_inline int is_answer(struct packet *p)
{
	__u64 hash = awaited_hash(p);

	return (p->tcp_flags & TCP_ACK) && !(p->tcp_flags & (TCP_RST | TCP_SYN)) &&
	       may_be_awaited(hash) && answer_awaited(p, hash);
}

/* Tells whether a segment is data that nobody waits for. */
static __always_inline int is_of_no_interest(const struct packet *p)
{
	return !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
	       !may_be_awaited(awaited_hash(p)) && !describe_all;
}

/* The short way by sequence. */
static __always_inline int is_plain_data(struct frame *f)
{
	struct packet ipv4 = {}, ipv6 = {};

	if (parse_plain_ipv4(f, &ipv4))
		return is_of_no_interest(&ipv4);
	return parse_plain_ipv6(f, &ipv6) && is_of_no_interest(&ipv6);
}

static __always_inline int follow_sequence(struct xdp_md *ctx, struct ledger *l)
{
	__u32 length = bpf_xdp_get_buff_len(ctx);
	struct standing standing = {.wire_length = length};
	struct packet packet = {};
	enum outcome outcome;
	int wanted;

	l->octets += length;
	outcome = outcome_of(read_general(ctx, &packet, length));
	if (outcome != OUTCOME_TCP)
		return finish_frame(l, (enum end)outcome, XDP_DROP);

	wanted = is_answer(&packet) && !control_only;
	if (packet.tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))
		wanted = 1;
	if (!wanted && !describe_all)
		return finish_frame(l, END_COUNTED, XDP_DROP);
	standing.now = bpf_ktime_get_ns();
	await(l, &packet, standing.now);
	return pass(ctx, l, &packet, &standing);
}

/*
 * The tap that accounts by sequence: it has no flow table, and passes the control
 * segments and what answers them, without counters.
 */
SEC("xdp.frags")
int finwait_sequence(struct xdp_md *ctx)
{
	struct frame frame;
	struct ledger *l;
	__u32 zero = 0;

	l = bpf_map_lookup_elem(&ledger, &zero);
	if (!l)
		return XDP_DROP;
	open_frame(ctx, &frame);
	if (likely(is_plain_data(&frame))) {
		l->octets += frame.length;
		return finish_frame(l, END_COUNTED, XDP_DROP);
	}
	return follow_sequence(ctx, l);
}

/* The floor of every measurement: what a frame costs that nobody looks at. */
SEC("xdp.frags")
int finwait_idle(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* Returns how many entries were found, of a sweep how many were deleted. */
SEC("syscall")
int finwait_walk(struct request *ctx)
{
	struct request r = *ctx;
	struct batch *batch;
	int done = 0;

	batch = bpf_map_lookup_elem(&batches, &r.slot);
	if (!batch)
		return -1;
	for (__u32 i = 0; i < BATCH_KEYS && i < r.count; i++) {
		struct key key = batch->keys[i];
		struct counters *flow = find_flow(&key);
		int over;

		if (!flow) {
			__builtin_memset(&batch->counters[i], 0, sizeof(batch->counters[i]));
			continue;
		}
		over = is_over(flow, &r);
		/* Read before it is deleted: a free entry may be another flow's at once. */
		batch->counters[i] = *flow;
		if (over)
			over = !remove_flow(&key);
		done += r.mode == BATCH_SWEEP ? over : 1;
	}
	return done;
}

/*
 * The shared types that no map and no program's signature speaks of: named
 * here so that the object's BTF has them, which the layout test reads.
 */
struct vocabulary {
	struct segment segment;
	enum segment_mark segment_mark;
	enum direction_mark direction_mark;
	enum tcp_flag tcp_flag;
	enum layer layer;
	enum outcome outcome;
	enum end end;
	enum batch_mode batch_mode;
	enum awaited_kind awaited_kind;
};
struct vocabulary *vocabulary __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
