//go:build linux

package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A network is network namespaces that are joined by a switch in this process: each has a TUN device, whose packets are handed to the device of the
// namespace that they are for. Kernels without netem have delay and loss so too, and one way as well as both.
type network struct {
	t       *testing.T
	prefix  string // of the namespaces' names
	subnet  netip.Prefix
	devices []*device // the last one is this process's own
	// forwarding and delivering are the goroutines of the switch.
	forwarding, delivering sync.WaitGroup

	mu     sync.Mutex
	links  map[link]impairment
	random *rand.Rand
}

// device is one end of the network.
type device struct {
	file *os.File
	addr netip.Addr
	// late holds packets that are on their way for a while, in order.
	late chan latePacket
}

type latePacket struct {
	due  time.Time
	data []byte
}

// link is one direction between two members.
type link struct{ from, to int }

// impairment is what happens to the packets of one direction.
type impairment struct {
	loss  float64 // of 1
	delay time.Duration
}

const (
	mtu = 1500
	// tunPackets is how many packets may wait in a device, as a network card's queue has.
	tunPackets = 1000
)

// newNetwork makes namespaces for so many nodes, and a device for this process, which reaches them all.
func newNetwork(t *testing.T, nodes int) *network {
	t.Helper()
	seed := uint64(os.Getpid())
	n := &network{
		t: t, prefix: fmt.Sprintf("millrace-%d-n", os.Getpid()), links: map[link]impairment{}, random: rand.New(rand.NewPCG(seed, 0)),
		// A subnet of those for tests of networks (RFC 2544), of its own for each process.
		subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18 + byte(seed>>8&1), byte(seed), 0}), 24),
	}
	t.Cleanup(n.close)
	for i := range nodes {
		n.run("netns", "add", n.namespace(i))
		n.run("-n", n.namespace(i), "link", "set", "lo", "up")
		n.add(i, "eth0")
	}
	n.add(nodes, fmt.Sprintf("mrf%d", os.Getpid()))
	for i := range n.devices {
		n.forwarding.Go(func() { n.forward(i) })
		n.delivering.Go(func() { n.deliver(n.devices[i]) })
	}
	return n
}

func (n *network) namespace(i int) string { return fmt.Sprint(n.prefix, i) }

// addr is a node's address.
func (n *network) addr(i int) string { return n.devices[i].addr.String() }

// run calls ip(8).
func (n *network) run(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %q: %v: %s", args, err, out)
	}
}

// add makes the device of a node in its namespace, or that of this process.
func (n *network) add(i int, name string) {
	n.t.Helper()
	octets := n.subnet.Addr().As4()
	octets[3] = byte(i + 1)
	d := &device{addr: netip.AddrFrom4(octets), late: make(chan latePacket, 100_000)}
	namespace := ""
	if name == "eth0" {
		namespace = "/run/netns/" + n.namespace(i)
	}
	var err error
	if d.file, err = openTUN(namespace, name); err != nil {
		n.t.Fatal(err)
	}
	n.devices = append(n.devices, d)
	ip := []string{}
	if namespace != "" {
		ip = []string{"-n", n.namespace(i)}
	}
	n.run(append(ip, "addr", "add", fmt.Sprintf("%s/%d", d.addr, n.subnet.Bits()), "dev", name)...)
	n.run(append(ip, "link", "set", name, "mtu", fmt.Sprint(mtu), "txqueuelen", fmt.Sprint(tunPackets), "up")...)
}

// openTUN makes a TUN device in a namespace, in this process's own where that is "".
func openTUN(namespace, name string) (*os.File, error) {
	type opened struct {
		fd  int
		err error
	}
	done := make(chan opened)
	go func() {
		// The thread stays in the namespace, and so ends with its goroutine.
		runtime.LockOSThread()
		if namespace == "" {
			runtime.UnlockOSThread()
		}
		fd, err := tunIn(namespace, name)
		done <- opened{fd, err}
	}()
	o := <-done
	if o.err != nil {
		return nil, fmt.Errorf("make the TUN device %s in %q: %w", name, namespace, o.err)
	}
	return os.NewFile(uintptr(o.fd), name), nil
}

func tunIn(namespace, name string) (int, error) {
	if namespace != "" {
		ns, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		defer unix.Close(ns)
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return 0, err
		}
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// forward hands on what a member sends, until its device is closed.
func (n *network) forward(from int) {
	buf := make([]byte, mtu+100)
	for {
		size, err := n.devices[from].file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			n.t.Errorf("a device of the network is lost: %v", err)
			return
		}
		if size < 20 || buf[0]>>4 != 4 { // IPv6 says hello by itself
			continue
		}
		dest := netip.AddrFrom4([4]byte(buf[16:20]))
		for to, d := range n.devices {
			if d.addr == dest {
				n.hand(link{from, to}, d, buf[:size])
			}
		}
	}
}

func (n *network) hand(l link, to *device, packet []byte) {
	n.mu.Lock()
	how := n.links[l]
	lost := how.loss > 0 && n.random.Float64() < how.loss
	n.mu.Unlock()
	if lost {
		return
	}
	if how.delay == 0 {
		_, _ = to.file.Write(packet) // as a network, it may lose packets
		return
	}
	select {
	case to.late <- latePacket{time.Now().Add(how.delay), append([]byte(nil), packet...)}:
	default: // the queue of a network has an end
	}
}

// deliver writes what was held back, when its time has come. All delays at a time are the same, so that the order is that of coming.
func (n *network) deliver(d *device) {
	for p := range d.late {
		time.Sleep(time.Until(p.due))
		_, _ = d.file.Write(p.data)
	}
}

// impair changes what happens to packets of one direction between two nodes; the zero impairment is a good network.
func (n *network) impair(from, to int, how impairment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[link{from, to}] = how
}

// among changes all directions between a node and the others; what clients send it is left as it is.
func (n *network) among(node int, how impairment) {
	for other := range len(n.devices) - 1 {
		if other != node {
			n.impair(node, other, how)
			n.impair(other, node, how)
		}
	}
}

// heal makes a good network of it.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
}

func (n *network) close() {
	for _, d := range n.devices {
		if err := d.file.Close(); err != nil {
			n.t.Error(err)
		}
	}
	n.forwarding.Wait()
	for _, d := range n.devices {
		close(d.late)
	}
	n.delivering.Wait()
	for i := range len(n.devices) {
		if _, err := os.Stat("/run/netns/" + n.namespace(i)); err == nil {
			if out, err := exec.Command("ip", "netns", "del", n.namespace(i)).CombinedOutput(); err != nil {
				n.t.Errorf("ip netns del: %v: %s", err, out)
			}
		}
	}
}
