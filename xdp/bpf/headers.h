/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Protocol headers as they stand on the wire, in network order. Declared here
 * so that the build depends on no kernel's copy of them.
 */
#ifndef FINWAIT_HEADERS_H
#define FINWAIT_HEADERS_H

#include <linux/types.h>

#define ETHER_TYPE_IPV4	    0x0800
#define ETHER_TYPE_ETHERNET 0x6558 /* a whole frame, behind GRE and GENEVE */
#define ETHER_TYPE_IPV6	    0x86dd
#define ETHER_TYPE_VLAN	    0x8100 /* IEEE 802.1Q C-tag */
#define ETHER_TYPE_MPLS	    0x8847 /* RFC 5332 section 3 */
#define ETHER_TYPE_MPLS48   0x8848 /* labels of upstream */
#define ETHER_TYPE_PPPOE    0x8864 /* session stage (RFC 2516) */
#define ETHER_TYPE_SERVICE  0x88a8 /* IEEE 802.1ad S-tag */
#define ETHER_TYPE_QINQ	    0x9100 /* S-tag of older equipment */
#define ETHER_TYPE_ERSPAN2  0x88be /* in GRE: ERSPAN types I and II */
#define ETHER_TYPE_ERSPAN3  0x22eb /* in GRE: ERSPAN type III */

/* PPP protocol numbers (RFC 1332, RFC 5072). */
#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057

/* IANA protocol numbers; the others are extension headers of RFC 8200, RFC 4302 and RFC 6275. */
#define PROTO_HOP_BY_HOP  0
#define PROTO_IPV4	  4
#define PROTO_TCP	  6
#define PROTO_UDP	  17
#define PROTO_IPV6	  41
#define PROTO_ROUTING	  43
#define PROTO_FRAGMENT	  44
#define PROTO_GRE	  47
#define PROTO_AUTH	  51
#define PROTO_NONE	  59
#define PROTO_DESTINATION 60
#define PROTO_MOBILITY	  135

/* UDP destination ports of tunnels (IANA). */
#define PORT_GTPU   2152
#define PORT_VXLAN  4789
#define PORT_GENEVE 6081

struct ether_header {
	__u8 destination[6];
	__u8 source[6];
	__be16 ether_type;
};

struct vlan_tag {
	__be16 control; /* the lower 12 bits are the identifier */
	__be16 ether_type;
};

/* RFC 2516 section 4, with the PPP protocol behind it. */
struct pppoe_header {
	__u8 version_type;
	__u8 code;
	__be16 session;
	__be16 length;
	__be16 protocol;
};

struct ipv4_header {
	__u8 version_words;
	__u8 traffic_class;
	__be16 total_length;
	__be16 identification;
	__be16 fragment; /* the lower 13 bits are the offset */
	__u8 hop_limit;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__be32 version_flow;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__be32 source[4];
	__be32 destination[4];
};

/* What all extension headers begin with; of a fragment header it is all. */
struct extension_header {
	__u8 next_header;
	__u8 length;
	__be16 fragment; /* the upper 13 bits are the offset */
	__be32 identification;
};

/* RFC 3032 section 2.1 */
struct mpls_label {
	__be16 label;
	__u8 bottom; /* the lowest bit */
	__u8 ttl;
};

struct udp_header {
	__be16 source;
	__be16 destination;
	__be16 length;
	__be16 checksum;
};

/* RFC 2784 section 2 and RFC 2890 section 2; the routing flag is of RFC 1701. */
struct gre_header {
	__be16 flags;
	__be16 ether_type;
};

#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING  0x4000
#define GRE_KEY	     0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_VERSION  0x0007

/* draft-foschiano-erspan section 4.2; type III begins like it. */
struct erspan_header {
	__be16 version_vlan; /* the version in the upper 4 bits */
	__be16 session;	     /* in the lower 10 bits */
	__be32 index;
};

/* The same, section 4.3. */
struct erspan3_header {
	__be16 version_vlan;
	__be16 session;
	__be32 timestamp;
	__be16 security_group;
	__u8 frame_type; /* 0x7c */
	__u8 flags;	 /* 0x01: a subheader of 8 octets follows */
};

/* RFC 7348 section 5 */
struct vxlan_header {
	__be32 flags;
	__be32 vni; /* in the upper 24 bits */
};

/* RFC 8926 section 3.4 */
struct geneve_header {
	__u8 version_length; /* version in the upper 2 bits, options in words of 4 octets */
	__u8 flags;
	__be16 ether_type;
	__be32 vni; /* in the upper 24 bits */
};

/* 3GPP TS 29.281 section 5.1, the mandatory part */
struct gtpu_header {
	__u8 flags;
	__u8 message;
	__be16 length;
	__be32 teid;
};

struct tcp_header {
	__be16 source;
	__be16 destination;
	__be32 seq;
	__be32 ack;
	__u8 data_offset; /* the upper 4 bits, in words of 4 octets */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

#endif
