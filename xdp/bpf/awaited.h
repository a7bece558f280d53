/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Without a flow table: which acknowledgements are to come. A FIN and a SYN-ACK
 * leave a note of the segment that will answer them. It is found by a hash of that
 * segment's own tuple, direction and all, in a bucket of four; of each note 16 bits
 * of the hash, the tag, stand apart, so that a data segment reads one word of 128 KiB
 * and nothing else. A note goes with its answer; one that is never answered, when
 * another needs its place.
 *
 * What is passed on one queue while its FIN or SYN-ACK is still being looked at on
 * another finds no note yet: such an answer is not known for one. The next segment of
 * its direction that acknowledges as much stands for it, if there is any.
 */
#ifndef FINWAIT_AWAITED_H
#define FINWAIT_AWAITED_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "ledger.h"
#include "parse.h"
#include "segment.h"

#define AWAITED_BUCKETS 16384
#define AWAITED_WAYS	4

/* ns; older notes are of connections that user space has given up. */
#define AWAITED_LIMIT 60000000000

enum awaited_kind {
	AWAITED_NOTHING,
	AWAITED_SYN_ACK, /* the answer to one */
	AWAITED_FIN,
	AWAITED_KINDS,
};

struct awaited {
	union address src; /* of the answer */
	union address dst;
	__u16 src_port;
	__u16 dst_port;
	__u32 end;   /* what it acknowledges at least */
	__s64 since; /* ns, CLOCK_MONOTONIC */
};

struct awaited_bucket {
	struct bpf_spin_lock lock;
	__u8 kinds[AWAITED_WAYS]; /* enum awaited_kind */
	struct awaited ways[AWAITED_WAYS];
};

/* One for all programs of a tap, as the tags. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AWAITED_BUCKETS);
	__type(key, __u32);
	__type(value, struct awaited_bucket);
} awaited SEC(".maps");

/* A tag of 16 bits for each way, the first in the lowest; 0 is none. */
__u64 awaited_tags[AWAITED_BUCKETS];

/* The loader draws it: nobody outside can choose buckets. */
const volatile __u64 awaited_secret = 0;

#define EACH_TAG 0x0001000100010001

/* Odd numbers of random bits. */
static __always_inline __u64 awaited_hash(const struct packet *p)
{
	__u64 h = p->src.half[1] + awaited_secret;

	h ^= p->src.half[0] * 0xd6e8feb86659fd93;
	h *= 0x9e3779b97f4a7c15;
	h ^= h >> 32;
	h += p->dst.half[1] ^ p->dst.half[0] * 0xc2b2ae3d27d4eb4f;
	h ^= (__u64)p->src_port << 16 | p->dst_port;
	h *= 0xff51afd7ed558ccd;
	return h ^ h >> 29;
}

static __always_inline __u32 awaited_bucket_of(__u64 hash)
{
	return hash >> 20 & (AWAITED_BUCKETS - 1);
}

static __always_inline __u64 awaited_tag(__u64 hash)
{
	return hash >> 48 | 1;
}

/*
 * Tells whether a segment of this hash may be an answer. Hacker's Delight section 6-1:
 * a way that equals the tag becomes 0, and 0 borrows from its highest bit.
 */
static __always_inline int may_be_awaited(__u64 hash)
{
	__u64 x = awaited_tags[awaited_bucket_of(hash)] ^ awaited_tag(hash) * EACH_TAG;

	return ((x - EACH_TAG) & ~x & EACH_TAG << 15) != 0;
}

static __always_inline void set_tag(__u32 bucket, int way, __u64 tag)
{
	__u64 *tags = &awaited_tags[bucket & (AWAITED_BUCKETS - 1)];

	*tags = (*tags & ~(0xffffULL << way * 16)) | tag << way * 16;
}

static __always_inline int is_same_tuple(const struct awaited *a, const struct awaited *b)
{
	return a->src.half[1] == b->src.half[1] && a->dst.half[1] == b->dst.half[1] &&
	       a->src_port == b->src_port && a->dst_port == b->dst_port &&
	       a->src.half[0] == b->src.half[0] && a->dst.half[0] == b->dst.half[0];
}

/*
 * Returns whether the segment is an answer that was awaited, and takes back the notes
 * that it answers. The two functions are global to the verifier, as in tunnel.h.
 */
__noinline int answer_awaited(struct packet *p, __u64 hash)
{
	__u32 bucket = awaited_bucket_of(hash);
	struct awaited_bucket *b = bpf_map_lookup_elem(&awaited, &bucket);
	struct awaited answer;
	int found = 0;

	if (!p || !b)
		return 0;
	answer.src = p->src;
	answer.dst = p->dst;
	answer.src_port = p->src_port;
	answer.dst_port = p->dst_port;
	answer.end = p->ack;
	bpf_spin_lock(&b->lock);
#pragma unroll
	for (int i = 0; i < AWAITED_WAYS; i++) {
		if (b->kinds[i] == AWAITED_NOTHING || !is_same_tuple(&b->ways[i], &answer) ||
		    (__s32)(answer.end - b->ways[i].end) < 0)
			continue;
		b->kinds[i] = AWAITED_NOTHING;
		set_tag(bucket, i, 0);
		found = 1;
	}
	bpf_spin_unlock(&b->lock);
	return found;
}

/*
 * How little a note is worth keeping: the least is the first to make room. Those of
 * FINs are worth more than those of SYN-ACKs, of which a flood makes any number.
 */
static __always_inline __s64 worth(__u8 kind, __s64 since, __s64 now)
{
	if (kind == AWAITED_NOTHING)
		return -1;
	if (since < now - AWAITED_LIMIT)
		return 0;
	return kind == AWAITED_FIN ? since | 1LL << 62 : since;
}

/*
 * Notes what will answer a segment, a SYN-ACK or a FIN that ends at end. Returns the
 * enum awaited_kind of what was forgotten for it, AWAITED_NOTHING for none.
 */
__noinline int await_answer(struct packet *p, __u32 end, __u32 kind, __s64 now)
{
	struct packet reverse = {};
	struct awaited_bucket *b;
	struct awaited answer;
	__s64 least, each;
	int way = 0, forgotten;
	__u32 bucket;
	__u64 hash;

	if (!p)
		return AWAITED_NOTHING;
	reverse.src = answer.src = p->dst;
	reverse.dst = answer.dst = p->src;
	reverse.src_port = answer.src_port = p->dst_port;
	reverse.dst_port = answer.dst_port = p->src_port;
	answer.end = end;
	answer.since = now;
	hash = awaited_hash(&reverse);
	bucket = awaited_bucket_of(hash);
	b = bpf_map_lookup_elem(&awaited, &bucket);
	if (!b)
		return AWAITED_NOTHING;
	bpf_spin_lock(&b->lock);
	least = worth(b->kinds[0], b->ways[0].since, now);
#pragma unroll
	for (int i = 0; i < AWAITED_WAYS; i++) {
		each = worth(b->kinds[i], b->ways[i].since, now);
		/* Of a segment that was sent again. */
		if (b->kinds[i] == kind && b->ways[i].end == end &&
		    is_same_tuple(&b->ways[i], &answer))
			each = -2;
		if (each < least) {
			least = each;
			way = i;
		}
	}
	forgotten = kind;
	if (kind == AWAITED_FIN || least < 1LL << 62) {
		forgotten = least > 0 ? b->kinds[way & (AWAITED_WAYS - 1)] : AWAITED_NOTHING;
		b->kinds[way & (AWAITED_WAYS - 1)] = kind;
		b->ways[way & (AWAITED_WAYS - 1)] = answer;
		set_tag(bucket, way & (AWAITED_WAYS - 1), awaited_tag(hash));
	}
	bpf_spin_unlock(&b->lock);
	return forgotten;
}

#endif
