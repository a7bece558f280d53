/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a frame that is not plain IP or not plain TCP carries: labels between
 * Ethernet and IP, and tunnels over IP. The rules are those of segment.Decode.
 *
 * The functions that are not static are global to the verifier: it walks each
 * once, for whatever stands in its arguments, and not once more for every way
 * that led there.
 */
#ifndef FINWAIT_TUNNEL_H
#define FINWAIT_TUNNEL_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "headers.h"
#include "parse.h"
#include "segment.h"

#define MAX_TUNNELS	    2
#define MAX_MPLS_LABELS	    8
#define MAX_GTPU_EXTENSIONS 4

/*
 * The verifier wants every offset below 65,535. No frame within the other
 * bounds comes here: two IPv6 headers with the longest extensions, two GTP-U
 * headers with theirs and all the rest are 41,400 octets; and from here a third
 * IPv6 header fits below 65,535.
 */
#define MAX_OFFSET 0xbf00

/* How far a frame has been read. */
struct walk {
	struct position at;
	__u8 layers; /* that were stripped */
	__u8 tunnels;
	__u8 identified; /* one of the layers has an identifier */
	__u8 unused;
};

/* A tunnel's header while it is read. */
struct tunnel {
	__u32 at;
	__u32 identifier;
	__be16 ether_type; /* of what it carries */
	enum layer layer;
};

static __always_inline int is_label(__be16 ether_type)
{
	return ether_type == bpf_htons(ETHER_TYPE_PPPOE) ||
	       ether_type == bpf_htons(ETHER_TYPE_MPLS) ||
	       ether_type == bpf_htons(ETHER_TYPE_MPLS48);
}

static __always_inline int is_tunnel_port(__be16 port)
{
	return port == bpf_htons(PORT_VXLAN) || port == bpf_htons(PORT_GENEVE) ||
	       port == bpf_htons(PORT_GTPU);
}

/* UDP is looked into here, so that the many datagrams without a tunnel go no further. */
static __always_inline int is_tunnel(const struct frame *f, const struct position *at)
{
	struct udp_header *udp = f->data + at->next;

	if (at->protocol == PROTO_UDP)
		return (void *)(udp + 1) <= f->end && is_tunnel_port(udp->destination);
	return at->protocol == PROTO_IPV4 || at->protocol == PROTO_IPV6 ||
	       at->protocol == PROTO_GRE;
}

/* What is not understood inside a tunnel over IP is not TCP. */
static __always_inline enum outcome unknown(const struct walk *w)
{
	return w->tunnels ? OUTCOME_NOT_TCP : OUTCOME_NOT_IP;
}

/* Returns whether there was room. */
static __always_inline int add_layer(struct packet *p, struct walk *w, enum layer layer)
{
	__u32 at = w->layers;

	if (at >= MAX_LAYERS)
		return 0;
	p->encapsulation.layers[at] = layer;
	w->layers = at + 1;
	return 1;
}

/* Finds out which IP follows where only its version says so. */
static __always_inline enum outcome tell_version(const struct frame *f, __u32 at,
						 __be16 *ether_type)
{
	__u8 *version = f->data + at;

	if ((void *)(version + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if (*version >> 4 == 4)
		*ether_type = bpf_htons(ETHER_TYPE_IPV4);
	else if (*version >> 4 == 6)
		*ether_type = bpf_htons(ETHER_TYPE_IPV6);
	else
		*ether_type = 0;
	return OUTCOME_TCP;
}

static __always_inline enum outcome parse_pppoe(const struct frame *f, struct position *at)
{
	struct pppoe_header *session = f->data + at->ip;

	if ((void *)(session + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if (session->version_type != 0x11 || session->code)
		at->ether_type = 0;
	else if (session->protocol == bpf_htons(PPP_IPV4))
		at->ether_type = bpf_htons(ETHER_TYPE_IPV4);
	else if (session->protocol == bpf_htons(PPP_IPV6))
		at->ether_type = bpf_htons(ETHER_TYPE_IPV6);
	else
		at->ether_type = 0;
	at->ip += sizeof(*session);
	return OUTCOME_TCP;
}

static __always_inline enum outcome parse_mpls(const struct frame *f, struct position *at)
{
	for (int i = 0; i < MAX_MPLS_LABELS; i++) {
		struct mpls_label *label = f->data + at->ip;

		if ((void *)(label + 1) > f->end)
			return OUTCOME_UNDECODABLE;
		at->ip += sizeof(*label);
		if (label->bottom & 1)
			return tell_version(f, at->ip, &at->ether_type);
	}
	at->ether_type = 0;
	return OUTCOME_TCP;
}

/* From an Ethernet header, or from what its type announces, to an IP header. */
__noinline int strip_labels(struct frame_context *ctx, struct packet *p, struct walk *w)
{
	struct frame f = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};
	enum outcome outcome = OUTCOME_TCP;
	struct tags tags = {};
	struct position at;

	if (!p || !w || w->at.ip > MAX_OFFSET)
		return OUTCOME_UNDECODABLE;
	at = w->at;
	if (at.ether_type == bpf_htons(ETHER_TYPE_ETHERNET))
		outcome = parse_ethernet(&f, &at);
	if (outcome == OUTCOME_TCP && is_vlan(at.ether_type)) {
		if (!add_layer(p, w, LAYER_VLAN))
			return unknown(w);
		outcome = parse_tags(&f, &at, &tags);
		if (tags.layer == LAYER_QINQ)
			p->encapsulation.layers[(w->layers - 1) & (MAX_LAYERS - 1)] = LAYER_QINQ;
	}
	if (outcome == OUTCOME_TCP && is_label(at.ether_type)) {
		int pppoe = at.ether_type == bpf_htons(ETHER_TYPE_PPPOE);

		if (!add_layer(p, w, pppoe ? LAYER_PPPOE : LAYER_MPLS))
			return unknown(w);
		outcome = pppoe ? parse_pppoe(&f, &at) : parse_mpls(&f, &at);
	}
	w->at = at;
	return outcome;
}

static __always_inline enum outcome parse_erspan2(const struct frame *f, struct tunnel *t)
{
	struct erspan_header *erspan = f->data + t->at;

	if ((void *)(erspan + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if (bpf_ntohs(erspan->version_vlan) >> 12 != 1)
		return OUTCOME_NOT_TCP;
	t->layer = LAYER_ERSPAN;
	t->identifier = bpf_ntohs(erspan->session) & 0x03ff;
	t->at += sizeof(*erspan);
	return OUTCOME_TCP;
}

static __always_inline enum outcome parse_erspan3(const struct frame *f, struct tunnel *t)
{
	struct erspan3_header *erspan = f->data + t->at;

	if ((void *)(erspan + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if (bpf_ntohs(erspan->version_vlan) >> 12 != 2 || erspan->frame_type & 0x7c)
		return OUTCOME_NOT_TCP;
	t->layer = LAYER_ERSPAN;
	t->identifier = bpf_ntohs(erspan->session) & 0x03ff;
	t->at += sizeof(*erspan) + (erspan->flags & 1) * 8;
	return OUTCOME_TCP;
}

static __always_inline enum outcome parse_gre(const struct frame *f, struct tunnel *t)
{
	struct gre_header *gre = f->data + t->at;
	__u16 flags;

	if ((void *)(gre + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	flags = bpf_ntohs(gre->flags);
	if (flags & (GRE_ROUTING | GRE_VERSION))
		return OUTCOME_NOT_TCP;
	t->at += sizeof(*gre);
	t->at += flags & GRE_CHECKSUM ? 4 : 0;
	t->at += flags & GRE_KEY ? 4 : 0;
	t->at += flags & GRE_SEQUENCE ? 4 : 0;
	t->ether_type = bpf_htons(ETHER_TYPE_ETHERNET);
	if (gre->ether_type == bpf_htons(ETHER_TYPE_ERSPAN3))
		return parse_erspan3(f, t);
	if (gre->ether_type == bpf_htons(ETHER_TYPE_ERSPAN2)) {
		if (flags & GRE_SEQUENCE)
			return parse_erspan2(f, t);
		t->layer = LAYER_ERSPAN_TYPE_I;
		return OUTCOME_TCP;
	}
	t->layer = LAYER_GRE;
	t->ether_type = gre->ether_type;
	return OUTCOME_TCP;
}

static __always_inline enum outcome parse_vxlan(const struct frame *f, struct tunnel *t)
{
	struct vxlan_header *vxlan = f->data + t->at;

	if ((void *)(vxlan + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if (!(vxlan->flags & bpf_htonl(0x08000000)))
		return OUTCOME_NOT_TCP;
	t->layer = LAYER_VXLAN;
	t->identifier = bpf_ntohl(vxlan->vni) >> 8;
	t->ether_type = bpf_htons(ETHER_TYPE_ETHERNET);
	t->at += sizeof(*vxlan);
	return OUTCOME_TCP;
}

static __always_inline enum outcome parse_geneve(const struct frame *f, struct tunnel *t)
{
	struct geneve_header *geneve = f->data + t->at;

	if ((void *)(geneve + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if (geneve->version_length >> 6)
		return OUTCOME_NOT_TCP;
	t->layer = LAYER_GENEVE;
	t->identifier = bpf_ntohl(geneve->vni) >> 8;
	t->ether_type = geneve->ether_type;
	t->at += sizeof(*geneve) + (geneve->version_length & 0x3f) * 4;
	return OUTCOME_TCP;
}

/*
 * Each extension header begins with its length in words of 4 octets and ends
 * with the type of the next, 0 for none. The type of the first stands before at.
 */
static __always_inline enum outcome skip_gtpu_extensions(const struct frame *f, struct tunnel *t,
							 __u8 next)
{
	for (int i = 0; i < MAX_GTPU_EXTENSIONS; i++) {
		__u8 *words = f->data + t->at;
		__u8 *last;

		if (!next)
			return OUTCOME_TCP;
		if ((void *)(words + 1) > f->end || !*words)
			return OUTCOME_UNDECODABLE;
		t->at += (__u8)(*words - 1) * 4 + 3;
		last = f->data + t->at;
		if ((void *)(last + 1) > f->end)
			return OUTCOME_UNDECODABLE;
		next = *last;
		t->at++;
	}
	return next ? OUTCOME_NOT_TCP : OUTCOME_TCP;
}

static __always_inline enum outcome parse_gtpu(const struct frame *f, struct tunnel *t)
{
	struct gtpu_header *gtpu = f->data + t->at;
	enum outcome outcome;

	if ((void *)(gtpu + 1) > f->end)
		return OUTCOME_UNDECODABLE;
	if (gtpu->flags >> 4 != 3 || gtpu->message != 255)
		return OUTCOME_NOT_TCP;
	t->layer = LAYER_GTPU;
	t->identifier = bpf_ntohl(gtpu->teid);
	t->at += sizeof(*gtpu);
	if (gtpu->flags & 0x07) {
		__u8 *optional = f->data + t->at;

		if ((void *)(optional + 4) > f->end)
			return OUTCOME_UNDECODABLE;
		t->at += 4;
		outcome = skip_gtpu_extensions(f, t, gtpu->flags & 0x04 ? optional[3] : 0);
		if (outcome != OUTCOME_TCP)
			return outcome;
	}
	return tell_version(f, t->at, &t->ether_type);
}

static __always_inline enum outcome parse_udp(const struct frame *f, struct tunnel *t)
{
	struct udp_header *udp = f->data + t->at;

	if ((void *)(udp + 1) > f->end)
		return OUTCOME_NOT_TCP;
	t->at += sizeof(*udp);
	if (udp->destination == bpf_htons(PORT_VXLAN))
		return parse_vxlan(f, t);
	if (udp->destination == bpf_htons(PORT_GENEVE))
		return parse_geneve(f, t);
	if (udp->destination == bpf_htons(PORT_GTPU))
		return parse_gtpu(f, t);
	return OUTCOME_NOT_TCP;
}

static __always_inline enum outcome parse_tunnel(const struct frame *f, struct tunnel *t,
						 __u8 protocol)
{
	switch (protocol) {
	case PROTO_IPV4:
		t->ether_type = bpf_htons(ETHER_TYPE_IPV4);
		return OUTCOME_TCP;
	case PROTO_IPV6:
		t->ether_type = bpf_htons(ETHER_TYPE_IPV6);
		return OUTCOME_TCP;
	case PROTO_GRE:
		return parse_gre(f, t);
	case PROTO_UDP:
		return parse_udp(f, t);
	}
	return OUTCOME_NOT_TCP;
}

/* From a transport protocol that is not TCP to an IP or an Ethernet header. */
__noinline int strip_tunnel(struct frame_context *ctx, struct packet *p, struct walk *w)
{
	struct frame f = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};
	struct tunnel t = {.layer = LAYER_IPIP};
	enum outcome outcome;

	if (!p || !w || w->tunnels >= MAX_TUNNELS || w->layers >= MAX_LAYERS)
		return OUTCOME_NOT_TCP;
	if (w->at.next > MAX_OFFSET)
		return OUTCOME_UNDECODABLE;
	t.at = w->at.next;
	outcome = parse_tunnel(&f, &t, w->at.protocol);
	if (outcome != OUTCOME_TCP)
		return outcome;
	if (t.ether_type != bpf_htons(ETHER_TYPE_IPV4) &&
	    t.ether_type != bpf_htons(ETHER_TYPE_IPV6) &&
	    t.ether_type != bpf_htons(ETHER_TYPE_ETHERNET))
		return OUTCOME_NOT_TCP;

	add_layer(p, w, t.layer);
	if (t.layer >= LAYER_ERSPAN && !w->identified) {
		p->encapsulation.identifier = t.identifier;
		w->identified = 1;
	}
	w->tunnels++;
	w->at.ip = t.at;
	w->at.ether_type = t.ether_type;
	return OUTCOME_TCP;
}

/* From an IP header to the fields of a segment, or to another protocol. */
__noinline int strip_ip(struct frame_context *ctx, struct packet *p, struct walk *w)
{
	struct frame f = {
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.length = length_of(ctx),
	};
	enum outcome outcome;
	struct position at;

	if (!p || !w || w->at.ip > MAX_OFFSET)
		return OUTCOME_UNDECODABLE;
	at = w->at;
	at.protocol = PROTO_NONE;
	outcome = parse_ip(&f, p, &at);
	w->at = at;
	return outcome == OUTCOME_NOT_IP ? unknown(w) : outcome;
}

/*
 * Goes on where parse stopped, with a label or a tunnel, and returns an enum
 * outcome for what is inside.
 */
__noinline int look_inside(struct frame_context *ctx, struct packet *p, struct walk *w)
{
	int outcome = OUTCOME_TCP;

	if (!p || !w)
		return OUTCOME_UNDECODABLE;
	if (!is_label(w->at.ether_type))
		outcome = strip_tunnel(ctx, p, w);
	for (int i = 0; i <= MAX_TUNNELS; i++) {
		if (outcome != OUTCOME_TCP)
			return outcome;
		outcome = strip_labels(ctx, p, w);
		if (outcome != OUTCOME_TCP)
			return outcome;
		outcome = strip_ip(ctx, p, w);
		if (outcome != OUTCOME_NOT_TCP)
			return outcome;
		outcome = strip_tunnel(ctx, p, w);
	}
	return OUTCOME_NOT_TCP;
}

/* What becomes of a frame that parse left with the outcome and the position given. */
static __always_inline enum outcome parse_inside(struct frame_context *ctx, const struct frame *f,
						 struct packet *p, const struct position *at,
						 enum outcome outcome)
{
	struct walk walk = {
		.at = *at,
		.layers = p->encapsulation.layers[0] != LAYER_NONE,
	};

	if (!(outcome == OUTCOME_NOT_IP && is_label(at->ether_type)) &&
	    !(outcome == OUTCOME_NOT_TCP && is_tunnel(f, at)))
		return outcome;
	return look_inside(ctx, p, &walk);
}

/*
 * From a frame, of which length is that of all of it, to the fields of its segment;
 * returns an enum outcome.
 */
__noinline int read_general(struct frame_context *ctx, struct packet *p, __u32 length)
{
	struct position at = {.ether_type = bare_type(ctx)};
	enum outcome outcome;
	struct frame f;

	if (!p)
		return OUTCOME_UNDECODABLE;
	open_frame(ctx, &f);
	f.length = length;
	outcome = parse(&f, p, &at, tags_beside(ctx));
	return outcome == OUTCOME_TCP ? outcome : parse_inside(ctx, &f, p, &at, outcome);
}

/* Of a global function the verifier knows only that it returns a number. */
static __always_inline enum outcome outcome_of(__u32 number)
{
	return number <= OUTCOME_UNDECODABLE ? number : OUTCOME_UNDECODABLE;
}

/* The tap's own way from a frame to its length and the fields of its segment; p is zero. */
static __always_inline enum outcome read_segment(struct frame_context *ctx, struct frame *f,
						 struct packet *p)
{
	/* One of its own, so that the other may live in registers. */
	struct packet walked = {};
	enum outcome outcome;

	if (parse_plain_ipv4(f, p) || parse_plain_ipv6(f, p))
		return OUTCOME_TCP;
	f->length = length_of(ctx);
	outcome = outcome_of(read_general(ctx, &walked, f->length));
	*p = walked;
	return outcome;
}

#endif
