package cgroup_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/cgroup"
	"github.com/finwait/finwait/xdp/cgroup/cgrouptest"
)

func open(t *testing.T) *cgroup.Names {
	t.Helper()
	n := cgroup.Open()
	t.Cleanup(func() { _ = n.Close() })
	if len(n.Warnings()) > 0 {
		t.Fatal(n.Warnings())
	}
	return n
}

func number(id uint64) string { return "cgroup:" + strconv.FormatUint(id, 10) }

// A group's name is its path, and stays so when the group is gone. One that nobody
// met before it went has none, nor has one that never was.
func TestNames(t *testing.T) {
	g := cgrouptest.New(t)
	below := g.Below(t, "a b\\x2d.service")
	confusing := g.Below(t, "c (deleted)")
	missed := g.Below(t, "missed")
	n := open(t)
	for _, of := range []*cgrouptest.Group{g, below, confusing} {
		if name := n.Name(of.ID); name != of.Path {
			t.Errorf("%d is called %q, not %q", of.ID, name, of.Path)
		}
	}
	var root unix.Stat_t
	if err := unix.Stat(n.Where(), &root); err != nil {
		t.Fatal(err)
	}
	if name := n.Name(root.Ino); name != "/" {
		t.Errorf("the root is called %q", name)
	}
	for _, of := range []*cgrouptest.Group{below, missed} {
		if err := of.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	again := g.Below(t, "missed")
	for id, want := range map[uint64]string{below.ID: below.Path, missed.ID: number(missed.ID), 1 << 60: number(1 << 60), again.ID: again.Path} {
		if name := n.Name(id); name != want {
			t.Errorf("%d is called %q, not %q", id, name, want)
		}
	}
	if s := n.Stats(); s.Named.Load() != 5 || s.Unnamed.Load() != 2 || s.Forgotten.Load() != 0 {
		t.Errorf("%d named, %d unnamed, %d forgotten", s.Named.Load(), s.Unnamed.Load(), s.Forgotten.Load())
	}
}

// What is sighted has a name soon, also where its group goes before anybody asks.
func TestSighted(t *testing.T) {
	g := cgrouptest.New(t)
	n := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { n.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	n.Sighted(g.ID)
	for range 200 {
		if n.Stats().Named.Load() == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := g.Remove(); err != nil {
		t.Fatal(err)
	}
	if name := n.Name(g.ID); name != g.Path {
		t.Errorf("a group that was sighted is called %q, not %q", name, g.Path)
	}
}

// Sighted runs in the way of segments.
func TestSightedAllocates(t *testing.T) {
	n := new(cgroup.Names)
	id := uint64(0)
	if got := testing.AllocsPerRun(1000, func() { id++; n.Sighted(id); n.Sighted(id) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// Names take so much memory and no more: the oldest goes, and is looked up anew.
func TestRoom(t *testing.T) {
	g := cgrouptest.New(t)
	n := open(t)
	n.SetRoom(1000)
	n.Name(g.ID)
	for id := range uint64(100) {
		n.Name(1<<60 + id)
	}
	if s := n.Stats(); s.Forgotten.Load() < 90 || s.Forgotten.Load() > 100 {
		t.Errorf("%d forgotten", s.Forgotten.Load())
	}
	if name := n.Name(g.ID); name != g.Path || n.Stats().Named.Load() != 2 {
		t.Errorf("a group that was forgotten is called %q, after %d lookups", name, n.Stats().Named.Load())
	}
}

func TestMountPoint(t *testing.T) {
	const others = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
	for table, want := range map[string]string{
		"":     "",
		others: "",
		others + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n":                           "/sys/fs/cgroup/unified",
		"30 23 0:26 /a /mnt rw - cgroup2 cgroup2 rw\n31 23 0:26 / /my\\040groups rw master:1 - cgroup2 none rw,nsdelegate\n": "/my groups",
		"30 23 0:26 /a /mnt rw - cgroup2 cgroup2 rw\n":                                                                       "",
	} {
		if got := cgroup.MountPoint(table); got != want {
			t.Errorf("%q in\n%s", got, table)
		}
	}
}

// Where there is nobody to ask there are numbers.
func TestUnnamed(t *testing.T) {
	n := new(cgroup.Names)
	n.SetRoom(cgroup.Room)
	if name := n.Name(7); name != "cgroup:7" {
		t.Errorf("called %q", name)
	}
	if n.Where() != "" || n.Close() != nil {
		t.Error("there is something to close")
	}
}
