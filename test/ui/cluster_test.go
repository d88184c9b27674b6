package ui_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/internal/cli"
	"github.com/millrace/millrace/internal/natstest"
)

// asNode names the configuration that a process of this test's program serves, in place of running tests.
const asNode = "MILLRACE_UI_NODE"

// process is a node of a cluster, in a process of its own.
type process struct {
	tb     testing.TB
	config string
	base   string
	cmd    *exec.Cmd
	log    *bytes.Buffer
}

// port is an address that is free now.
func port(tb testing.TB) string {
	tb.Helper()
	addr, err := natstest.Address()
	if err != nil {
		tb.Fatal(err)
	}
	return addr
}

// nodes are n1, n2, ... of one cluster, which are not started yet.
func nodes(tb testing.TB, n int) []*process {
	tb.Helper()
	dir := tb.TempDir()
	peers := make([]string, n)
	for i := range peers {
		peers[i] = port(tb)
	}
	all := make([]*process, n)
	for i := range all {
		addr := port(tb)
		all[i] = &process{tb: tb, config: filepath.Join(dir, fmt.Sprintf("n%d.yaml", i+1)), base: "http://" + addr + "/"}
		text := fmt.Sprintf("node: {name: n%d, data: n%[1]d}\nhttp: {listen: %q}\ngrid: {partitions: 4}\n"+
			"cluster: {name: pages, listen: %q, seeds: [%q], secret: a secret of the tests}\n", i+1, addr, peers[i], peers[(i+1)%min(n, 3)])
		if i == 3 {
			text = strings.Replace(text, peers[1], peers[0], 1)
		}
		if err := os.WriteFile(all[i].config, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

func (n *process) start() {
	n.tb.Helper()
	self, err := os.Executable()
	if err != nil {
		n.tb.Fatal(err)
	}
	n.log = &bytes.Buffer{}
	n.cmd = exec.Command(self)
	n.cmd.Env = append(os.Environ(), asNode+"="+n.config)
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		n.tb.Fatal(err)
	}
	n.tb.Cleanup(n.kill)
}

// kill ends it as a crash would. A second call does nothing.
func (n *process) kill() {
	if n.cmd == nil {
		return
	}
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.tb.Errorf("kill: %v", err)
	}
	_ = n.cmd.Wait() // that it was killed
	n.cmd = nil
	if n.tb.Failed() {
		n.tb.Logf("%s says:\n%s", n.config, n.log)
	}
}

// wait waits until the cluster is even, by the command that is for that, and returns it as this node sees it then.
func (n *process) wait() (s cluster.Status) {
	n.tb.Helper()
	var out, said bytes.Buffer
	code := cli.Main(n.tb.Context(), []string{"cluster", "status", "--server", n.base, "--wait", "--timeout", "2m", "--json"}, cli.Process{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &said})
	if err := json.Unmarshal(out.Bytes(), &s); code != 0 || err != nil {
		n.tb.Fatalf("wait for an even cluster: code %d, %v\n%s", code, err, &said)
	}
	return s
}

func (n *process) status() (s cluster.Status) {
	n.tb.Helper()
	if err := json.Unmarshal([]byte(fetch(n.tb, n.base+"rest/v2/cluster")), &s); err != nil {
		n.tb.Fatal(err)
	}
	return s
}

func fetch(tb testing.TB, address string) string {
	tb.Helper()
	resp, err := http.Get(address)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %s %v: %s", address, resp.Status, err, body)
	}
	return string(body)
}

// shows makes of a status what the page is to show of it: a line for each node, and one for each partition.
func shows(s cluster.Status) string {
	var lines []string
	for _, n := range s.Nodes {
		state := "there"
		switch {
		case !n.Connected:
			state = "away"
		case n.Drained:
			state = "drained"
		case n.Draining:
			state = "draining"
		}
		lines = append(lines, fmt.Sprintf("%s %s %d %d %d", n.Name, state, n.Leads, n.Owns, n.Replicas))
	}
	for _, p := range s.Partitions {
		line := fmt.Sprintf("%s %d", p.Class, p.Partition)
		for _, n := range s.Nodes {
			mark := ""
			for _, r := range p.Replicas {
				if r.Node == n.Name {
					mark = map[string]string{"current": "✓", "offline": "×", "behind": fmt.Sprint(r.Lag)}[r.State]
					if mark == "0" {
						mark = "…"
					}
				}
			}
			switch n.Name {
			case p.Leader:
				mark = "L"
			case p.Owner:
				mark = "O"
			}
			line += " [" + mark + "]"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// shown is the same as the page shows it.
const shown = `(() => {
	const rows = [...document.querySelectorAll('#nodes tbody tr')].map((r) => [r.cells[0].children[0], r.cells[0].children[2], ...[5, 6, 7].map((i) => r.cells[i].firstChild)].map((e) => e.textContent).join(' '));
	const maps = [...document.querySelectorAll('#partitions .map')].flatMap((map) => [...map.querySelectorAll('thead th')].map((th, i) =>
		map.querySelector('figcaption').textContent.toLowerCase() + ' ' + th.textContent + [...map.querySelectorAll('tbody tr')].map((r) => ' [' + r.cells[i + 1].firstChild.textContent + ']').join('')));
	return [...rows, ...maps].join('\n');
})()`

// agrees waits until the page shows what the node answers; both change.
func (p *tab) agrees(n *process) {
	p.tb.Helper()
	for deadline := time.Now().Add(patience); ; {
		want := shows(n.status())
		got := ask[string](p, shown)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			p.tb.Fatalf("the page shows\n%s\nthe node answers\n%s", got, want)
		}
		p.pass(200)
	}
}

// press presses a node's button, and answers the question.
func (p *tab) press(label, yes string) {
	p.tb.Helper()
	p.until(fmt.Sprintf(`(() => { const b = [...document.querySelectorAll('#cluster button')].find((b) => (b.ariaLabel || b.textContent) === %q && b.offsetParent && !b.disabled); b?.click(); return b; })()`, label))
	p.until(`document.getElementById('confirm').open`)
	if got := ask[string](p, `document.getElementById('confirm-yes').textContent`); got != yes {
		p.tb.Errorf("%s asks for %q, want %q", label, got, yes)
	}
	p.do(chromedp.Click(chromedp.ID("confirm-yes")))
}

// TestClusterPage: the page of a node in a cluster has the nodes and partitions as the API has them, while a node is killed and comes back, another joins, and is drained; what
// somebody has it do is done, and what is refused is said.
func TestClusterPage(t *testing.T) {
	need(t)
	all := nodes(t, 4)
	for _, n := range all[:3] {
		n.start()
	}
	all[0].wait()
	p := open(t, all[0].base, desktop)
	p.until(`!document.getElementById('cluster').hidden && !document.getElementById('to-cluster').hidden && document.getElementById('cluster-title').textContent === 'Cluster pages'`)
	p.until(`document.getElementById('cluster-lead').textContent === '3 nodes, all there. 4 partitions, all up to date. As n1 sees it.'`)
	p.until(`document.getElementById('balance').textContent === 'even'`)
	p.agrees(all[0])
	p.until(`[...document.querySelectorAll('#nodes tbody tr')].every((r) => r.cells[1].textContent.endsWith('cores') && r.cells[2].textContent.endsWith('MiB'))`)
	if here := ask[string](p, `[...document.querySelectorAll('#nodes .here')].filter((e) => e.offsetParent).map((e) => e.closest('tr').querySelector('th span').textContent).join()`); here != "n1" {
		t.Errorf("this page is marked at %q", here)
	}
	p.keepWhole("even")

	t.Log("a node is killed")
	all[2].kill()
	p.until(`document.getElementById('cluster-lead').textContent.startsWith('2 of 3 nodes there; away: n3. 4 partitions, 4 with replicas that are behind or away.')`)
	p.until(`[...document.querySelectorAll('#nodes tbody tr')].find((r) => r.textContent.startsWith('n3')).cells[5].textContent === '0'`)
	p.until(`[...document.querySelectorAll('#nodes tbody tr')].filter((r) => !r.textContent.startsWith('n3')).every((r) => r.cells[5].textContent === '2')`)
	p.agrees(all[0])
	for _, line := range []string{"millrace_cluster_nodes 3", "millrace_cluster_nodes_there 2", "millrace_cluster_partitions_without_leader 0"} {
		if text := fetch(t, all[0].base+"metrics"); !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the metrics lack %q", line)
		}
	}
	p.keepWhole("killed")
	p.press("Remove n3", "Remove")
	p.until(`document.getElementById('cluster-said').textContent.startsWith('n3 stays as it is: refused: remove n3 would leave 2 nodes')`)

	t.Log("it is back")
	p.forgive() // the browser notes the refusal
	all[2].start()
	all[0].wait()
	p.until(`document.getElementById('cluster-lead').textContent.startsWith('3 nodes, all there.')`)
	p.agrees(all[0])

	t.Log("rebalancing is paused, and a fourth node joins")
	p.press("Pause", "Pause")
	p.until(`document.getElementById('balance').textContent === 'paused' && document.getElementById('cluster-said').textContent === 'Rebalancing is paused.'`)
	if s := all[1].status(); !s.Rebalancing.Paused {
		t.Errorf("the page says that it is paused, n2 says %+v", s.Rebalancing)
	}
	all[3].start()
	p.until(`document.querySelectorAll('#nodes tbody tr').length === 4 && document.getElementById('balance-text').textContent.startsWith('3 moves wait.')`)
	p.press("Resume", "Resume")
	p.until(`document.querySelectorAll('#moves li').length > 0 && /^(durable \d|the grid's description): n\d → n4/.test(document.querySelector('#moves b').textContent)`)
	p.keepWhole("moving")
	all[0].wait()
	p.until(`document.getElementById('balance').textContent === 'even' && document.querySelectorAll('#moves li').length === 0`)
	p.agrees(all[0])

	t.Log("a node is drained")
	p.press("Drain n2", "Drain")
	p.until(`document.getElementById('cluster-said').textContent === 'n2 gives away what it has.'`)
	p.until(`[...document.querySelectorAll('#nodes tbody tr')].find((r) => r.textContent.startsWith('n2')).textContent.includes('drained')`)
	p.agrees(all[0])
	p.keepWhole("drained")
	p.press("Undrain n2", "Undrain")
	p.until(`[...document.querySelectorAll('#nodes tbody tr')].find((r) => r.textContent.startsWith('n2')).textContent.includes('there')`)
	p.forgive()

	t.Log("the node of the page does not answer")
	all[0].kill()
	p.until(`/^As of \d\d:\d\d:\d\d: the node does not answer$/.test(document.getElementById('cluster-stale').textContent)`)
	if ask[bool](p, `document.querySelectorAll('#nodes tbody tr').length !== 4 || ![...document.querySelectorAll('#cluster button[data-does]')].every((b) => b.disabled)`) {
		t.Error("the last picture is gone, or can be acted on")
	}
	all[0].start()
	p.until(`document.getElementById('cluster-stale').textContent === '' && document.getElementById('cluster-lead').textContent.startsWith('4 nodes, all there.')`)
	p.forgive()
}

// invented is a cluster of n nodes with so many partitions of each class, in which some things are wrong.
func invented(n, of int) cluster.Status {
	s := cluster.Status{Cluster: "invented", Node: "node-001", Rebalancing: cluster.Rebalancing{
		State: cluster.Moving, Controller: "node-007", Done: 12, Total: 40,
		Current: []cluster.Move{{Class: "durable", Partition: 3, From: "node-004", To: fmt.Sprintf("node-%03d", n), Since: time.Now().Add(-8 * time.Second), Lag: 5120, Why: "even"}},
	}}
	name := func(i int) string { return fmt.Sprintf("node-%03d", i%n+1) }
	for i := range n {
		node := cluster.Node{Name: name(i), Version: "v1.2.3", Connected: i%41 != 16, Draining: i == 29, Removing: false}
		if node.Connected {
			node.Load = &cluster.Load{CPU: float64(i%37) / 9, Memory: uint64(i%19+3) << 26, Disk: uint64(i%23+1) << 28, Volatile: uint64(i%5) << 20}
		}
		s.Nodes = append(s.Nodes, node)
	}
	for _, class := range []string{"durable", "volatile"} {
		for i := range of {
			p := cluster.Partition{Class: class, Partition: i, Leader: name(i), Owner: name(i)}
			for k := range min(3, n) {
				r := cluster.Replica{Node: name(i + k*7), State: "current"}
				switch node := &s.Nodes[(i+k*7)%n]; {
				case !node.Connected && k == 0:
					p.Leader, p.Owner = name(i+7), name(i+7)
					r.State = "offline"
				case !node.Connected:
					r.State = "offline"
				case k > 0 && (i+k)%53 == 9:
					r.State, r.Lag = "behind", uint64(i*31+7)
				}
				s.Nodes[(i+k*7)%n].Replicas++
				p.Replicas = append(p.Replicas, r)
			}
			if i%101 == 44 {
				p.Leader, p.Owner, p.Replicas, p.Error = "", "", []cluster.Replica{}, "ask who leads KV_millrace-d-44: context deadline exceeded"
			}
			for j := range s.Nodes {
				if s.Nodes[j].Name == p.Leader {
					s.Nodes[j].Leads++
					s.Nodes[j].Owns++
				}
			}
			s.Partitions = append(s.Partitions, p)
		}
	}
	return s
}

// front serves a node's page and API with another cluster than the node has, which change changes with each question; asked counts them.
func front(tb testing.TB, s cluster.Status, change func(*cluster.Status, int64)) (address string, asked *atomic.Int64) {
	tb.Helper()
	node, _ := run(tb, demo(tb, tb.TempDir(), "127.0.0.1:0"))
	to, err := url.Parse(node)
	if err != nil {
		tb.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.URL.Path != "/rest/v2/stats" {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		body = bytes.Replace(body, []byte(`"demo":true`), []byte(`"demo":true,"cluster":"invented"`), 1)
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
		return nil
	}
	asked = &atomic.Int64{}
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/rest/v2/cluster" {
			proxy.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		change(&s, asked.Add(1))
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(s); err != nil {
			tb.Log(err) // the page is gone
		}
	}))
	tb.Cleanup(server.Close)
	return server.URL + "/", asked
}

// TestLargeClusterPage: 100 nodes and 256 partitions of each class can be read, on a phone too: a tile for each partition, what is wrong in words, a search. The
// page's elements do not grow in number while it is looked at.
func TestLargeClusterPage(t *testing.T) {
	address, asked := front(t, invented(100, 256), func(s *cluster.Status, n int64) {
		s.Rebalancing.Current[0].Lag = uint64(5120 - min(n, 50)*100)
		for i := range s.Nodes {
			if s.Nodes[i].Load != nil {
				s.Nodes[i].Load.CPU = float64((int64(i)*7+n)%40) / 10
			}
		}
		if p := &s.Partitions[n%256]; p.Error == "" && p.Replicas[1].State == "current" {
			p.Leader, p.Owner = p.Replicas[1].Node, p.Replicas[1].Node
		}
	})
	p := open(t, address, desktop)
	p.until(`document.querySelectorAll('.tiles > li').length === 512 && document.querySelectorAll('#nodes tbody tr').length === 100`)
	lead := ask[string](p, `document.getElementById('cluster-lead').textContent`)
	if want := "97 of 100 nodes there; away: node-017, node-058, node-099. 512 partitions, 6 without a leader, "; !strings.HasPrefix(lead, want) {
		t.Errorf("the lead is %q, want %q", lead, want)
	}
	if got, want := ask[string](p, `document.getElementById('partition-faults').innerText`), "durable 44, 145, 246, volatile 44, 145, 246: ask who leads KV_millrace-d-44: context deadline exceeded."; got != want {
		t.Errorf("what is wrong: %q, want %q", got, want)
	}
	// Of updates that change what is there, none leaves anything behind.
	elements := ask[int](p, `document.getElementById('cluster').querySelectorAll('*').length`)
	if elements > 20000 {
		t.Errorf("the cluster takes %d elements", elements)
	}
	before := asked.Load()
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#nodes button').focus({preventScroll: true})`))
	for asked.Load() < before+5 {
		p.pass(200)
	}
	if now := ask[int](p, `document.getElementById('cluster').querySelectorAll('*').length`); now > elements+50 {
		t.Errorf("%d elements, and %d after five updates", elements, now)
	}
	if at := ask[string](p, `document.activeElement.ariaLabel ?? ''`); at != "Drain node-001" {
		t.Errorf("the focus went to %q", at)
	}
	p.do(chromedp.SendKeys(chromedp.ID("cluster-search"), "node-017"))
	p.until(`document.querySelectorAll('#nodes tbody tr').length === 1 && document.querySelectorAll('.tiles > li').length < 20 && document.querySelectorAll('.tiles > li').length > 0`)
	p.do(chromedp.Evaluate[chromedp.Void](`(() => { const s = document.getElementById('cluster-search'); s.value = ''; s.dispatchEvent(new Event('input')); document.getElementById('cluster-odd').click(); })()`))
	p.until(`document.querySelectorAll('#nodes tbody tr').length === 4`)
	p.until(`[...document.querySelectorAll('.map figcaption')].every((c) => /^(Durable|Volatile), \d+ of 256 partitions$/.test(c.textContent) && !c.textContent.includes('256 of'))`)
	everyScreen(t, address, "Draw a digit", func(p *tab) {
		p.until(`document.querySelectorAll('.tiles > li').length === 512`)
		p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('cluster').scrollIntoView({behavior: 'instant'})`))
	})
}

// TestSmallClusterPage looks at a cluster in which nothing is as it should be, and the page does not ask for it while nobody sees it.
func TestSmallClusterPage(t *testing.T) {
	s := invented(5, 8)
	s.Nodes[1].Connected, s.Nodes[1].Load, s.Nodes[2].Draining = false, nil, true
	for i := range s.Partitions {
		p := &s.Partitions[i]
		for k := range p.Replicas {
			if p.Replicas[k].Node == "node-002" {
				p.Replicas[k].State = "offline"
			}
		}
		if p.Leader == "node-002" {
			p.Leader, p.Owner = p.Replicas[1].Node, p.Replicas[1].Node
		}
	}
	s.Partitions[2].Owner = s.Partitions[2].Replicas[2].Node
	s.Partitions[5].Leader, s.Partitions[5].Owner = "", ""
	s.Partitions[4].Replicas[2].State, s.Partitions[4].Replicas[2].Lag = "behind", 1234567
	s.Rebalancing.Current[0].From, s.Rebalancing.Current[0].To = "node-003", "node-005"
	s.Nodes = append(s.Nodes, cluster.Node{Name: "node-006", Version: "v1.2.3", Roles: []string{"compute"}, Connected: true})
	address, asked := front(t, s, func(*cluster.Status, int64) {})
	// A tab that nobody sees asks nothing.
	p := open(t, address, desktop)
	p.until(`document.querySelectorAll('#partitions table').length === 2`)
	p.do(chromedp.Evaluate[chromedp.Void](`Object.defineProperty(document, 'hidden', { value: true, configurable: true })`))
	p.pass(1500) // what was under way ends
	before := asked.Load()
	p.pass(3000)
	if n := asked.Load() - before; n != 0 {
		t.Errorf("a hidden tab asked %d times", n)
	}
	p.do(chromedp.Evaluate[chromedp.Void](`delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))`))
	p.until(`!document.hidden`)
	for asked.Load() == before {
		p.pass(100)
	}
	everyScreen(t, address, "Draw a digit", func(p *tab) {
		p.until(`document.querySelectorAll('#partitions table').length === 2`)
		// A node that keeps nothing is there, and neither drained nor a row of the partitions.
		p.until(`(() => { const r = document.querySelector('#nodes tbody').lastChild; return r.textContent.startsWith('node-006') && r.textContent.includes('has compute only') && r.cells[8].firstChild.hidden; })()`)
		p.until(`document.querySelectorAll('.matrix tbody tr').length === 10`)
		p.until(`document.getElementById('partition-faults').innerText === 'durable 5: no leader: nothing can be written to it.'`)
		p.until(`['L', 'O', '✓', '×', '1.2M', '+'].every((m) => [...document.querySelectorAll('.matrix .cell')].some((c) => c.textContent === m))`)
		p.until(`document.querySelector('#moves b').textContent === 'durable 3: node-003 → node-005' && document.querySelector('#moves small').textContent.startsWith('5,120 behind, since ')`)
		p.until(`document.getElementById('balance-text').textContent === '12 of 40 moves done. node-007 decides.' && document.getElementById('balance-bar').value === 12`)
	})
}
