//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What the tap program is measured against, and what gives it another segment
 * each time: BPF_PROG_RUN repeats one frame. The front programs change that
 * frame and then call whatever stands in the slot, by a tail call, so that the
 * programs under test are those that are shipped.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frame_xdp.h"

#include "headers.h"
#include "parse.h"
#include "segment.h"
#include "tunnel.h"

/* How far the next segment of the front programs is; less than it carries. */
#define SEQ_STEP 100

/* The number of tuples less one; they are a power of two. */
const volatile __u32 tuple_mask = 0;

/* One CPU runs them, one run at a time. */
__u64 random_state = 0x9e3779b97f4a7c15;
__u32 next_seq = 0;
__u64 sink = 0;

/* The time from the first of a run of frames to the last: all but one. */
__u32 frames = 0;
__u32 frames_seen = 0;
__u64 first_at = 0; /* ns, CLOCK_MONOTONIC */
__u64 last_at = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} slot SEC(".maps");

struct tuple {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 unused[3];
};

struct count {
	__u64 packets;
	__u64 octets;
};

/* The same kind of map as the tap's flow table. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct tuple);
	__type(value, struct count);
} tuples SEC(".maps");

/* xorshift64 (Marsaglia 2003). */
static __always_inline __u64 next_random(void)
{
	__u64 x = random_state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	random_state = x;
	return x;
}

/*
 * The lower 24 bits of the tuple's source address. An odd factor makes them
 * another number for each tuple, above and below the destination alike.
 */
static __always_inline __u32 spread(__u32 tuple)
{
	return (tuple * 0x9e3779b1) & 0x00ffffff;
}

/* Makes the frame the next segment of its flow; NULL where it is too short. */
static __always_inline struct ipv4_header *advance(struct xdp_md *ctx)
{
	struct ether_header *eth = (void *)(long)ctx->data;
	struct ipv4_header *ip = (void *)(eth + 1);
	struct tcp_header *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > (void *)(long)ctx->data_end)
		return 0;
	if (!frames_seen)
		first_at = bpf_ktime_get_ns();
	if (++frames_seen == frames)
		last_at = bpf_ktime_get_ns();
	next_seq += SEQ_STEP;
	tcp->seq = bpf_htonl(next_seq);
	return ip;
}

SEC("xdp.frags")
int cost_hot(struct xdp_md *ctx)
{
	if (advance(ctx))
		bpf_tail_call(ctx, &slot, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int cost_random(struct xdp_md *ctx)
{
	struct ipv4_header *ip = advance(ctx);

	if (!ip)
		return XDP_ABORTED;
	ip->source = bpf_htonl(0x0a000000 | spread(next_random() & tuple_mask));
	bpf_tail_call(ctx, &slot, 0);
	return XDP_ABORTED;
}

/* The tap's own way through the headers, and no more. */
SEC("xdp.frags")
int cost_parse(struct xdp_md *ctx)
{
	struct packet packet = {};
	struct frame frame;

	open_frame(ctx, &frame);
	if (read_segment(ctx, &frame, &packet) != OUTCOME_TCP)
		return XDP_ABORTED;
	sink = packet.src.half[0] ^ packet.src.half[1] ^ packet.dst.half[0] ^ packet.dst.half[1] ^
	       packet.src_port ^ packet.dst_port ^ packet.seq ^ packet.ack ^ packet.octets ^
	       packet.payload ^ packet.tcp_flags ^ frame.length;
	return XDP_DROP;
}

/* The least that counts: plain Ethernet, IPv4 and TCP, a look-up, two additions. */
SEC("xdp.frags")
int cost_minimal(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ether_header *eth = data;
	struct ipv4_header *ip = (void *)(eth + 1);
	struct tcp_header *tcp;
	struct tuple tuple = {};
	struct count *count;

	if ((void *)(ip + 1) > end)
		return XDP_ABORTED;
	if (eth->ether_type != bpf_htons(ETHER_TYPE_IPV4) || ip->protocol != PROTO_TCP)
		return XDP_ABORTED;
	tcp = (void *)ip + (ip->version_words & 0x0f) * 4;
	if ((void *)(tcp + 1) > end)
		return XDP_ABORTED;
	tuple.source = ip->source;
	tuple.destination = ip->destination;
	tuple.source_port = tcp->source;
	tuple.destination_port = tcp->destination;
	tuple.protocol = PROTO_TCP;
	count = bpf_map_lookup_elem(&tuples, &tuple);
	if (!count)
		return XDP_ABORTED;
	count->packets++;
	count->octets += bpf_ntohs(ip->total_length);
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
