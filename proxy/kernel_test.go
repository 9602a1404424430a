package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// kernel is a small interpreter of iptables rules, as far as this package uses them. It follows a
// packet through the tables and, where chance decides, takes all ways at once, so that probabilities
// come out exactly. It reads the text that iptables-restore gets, and knows nothing about Services.
type kernel struct {
	tables map[string]map[string][]string
	// local are the addresses of the node.
	local []netip.Addr
	// recent are the lists of the recent match that the packet's source is in.
	recent map[string]bool
	// steps counts the rules that the last packet met, on its longest way.
	steps int
}

// packet is the first of a connection.
type packet struct {
	src   netip.Addr
	dst   netip.AddrPort
	proto string
}

// fate is what becomes of a packet.
type fate struct {
	verdict    string // ACCEPT, DROP, REJECT
	to         netip.AddrPort
	masquerade bool
}

// way is a packet on one of its ways.
type way struct {
	p       packet
	prob    float64
	mark    uint32
	verdict string // "" while nothing was decided
	set     []string
	steps   int
}

func newKernel(text string, local ...netip.Addr) *kernel {
	k := &kernel{tables: map[string]map[string][]string{}, local: local, recent: map[string]bool{}}
	var table map[string][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = map[string][]string{}
			k.tables[line[1:]] = table
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			if _, twice := table[name]; twice {
				panic("chain declared twice: " + name)
			}
			table[name] = []string{}
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[3:], " ")
			table[name] = append(table[name], rule)
		}
	}
	return k
}

// send returns what becomes of a packet, with probabilities.
func (k *kernel) send(p packet) map[fate]float64 {
	k.steps = 0
	fates := map[fate]float64{}
	outbound := slices.Contains(k.local, p.src)
	first := "PREROUTING"
	if outbound {
		first = "OUTPUT"
	}
	for _, w := range k.hook("nat", first, []way{{p: p, prob: 1}}) {
		w.verdict = ""
		hook := "FORWARD"
		switch {
		case outbound && k.isLocal(w.p.dst.Addr()):
			hook = "INPUT" // over lo, after OUTPUT below
		case outbound:
			hook = ""
		case k.isLocal(w.p.dst.Addr()):
			hook = "INPUT"
		}
		ways := []way{w}
		if outbound {
			ways = k.hook("filter", "OUTPUT", ways)
		}
		if hook != "" {
			ways = k.each(ways, func(w way) []way { return k.hook("filter", hook, []way{w}) })
		}
		for _, w := range ways {
			f := fate{verdict: w.verdict, to: w.p.dst}
			if f.verdict == "" || f.verdict == "ACCEPT" {
				f.verdict = "ACCEPT"
				post := w
				post.verdict = ""
				out := k.hook("nat", "POSTROUTING", []way{post})
				f.masquerade = out[0].verdict == "MASQUERADE"
				w.steps = out[0].steps
			}
			fates[f] += w.prob
			k.steps = max(k.steps, w.steps)
		}
	}
	return fates
}

func (k *kernel) isLocal(a netip.Addr) bool { return a.IsLoopback() || slices.Contains(k.local, a) }

// each continues the ways on which nothing is decided yet.
func (k *kernel) each(ways []way, f func(way) []way) (out []way) {
	for _, w := range ways {
		if w.verdict != "" {
			out = append(out, w)
			continue
		}
		out = append(out, f(w)...)
	}
	return out
}

// hook runs one of the kernel's own chains, which has the policy ACCEPT.
func (k *kernel) hook(table, chain string, ways []way) []way {
	return k.each(ways, func(w way) []way { return k.walk(table, chain, w) })
}

// walk runs a chain. A way that comes back undecided returned from it.
func (k *kernel) walk(table, chain string, w way) (done []way) {
	rules, ok := k.tables[table][chain]
	if !ok && strings.Contains(chain, "-") {
		panic("jump to a chain that does not exist: " + chain)
	}
	going := []way{w}
	for _, text := range rules {
		var next []way
		for _, w := range going {
			w.steps++
			r := k.parse(text)
			p := r.matches(k, w)
			if p < 1 {
				stay := w
				stay.prob *= 1 - p
				next = append(next, stay)
			}
			if p > 0 {
				w.prob *= p
				w.set = append(slices.Clone(w.set), r.set...)
				for _, o := range k.act(table, r, w) {
					if o.verdict == "" {
						next = append(next, o)
					} else if o.verdict == "RETURN" {
						o.verdict = ""
						done = append(done, o)
					} else {
						done = append(done, o)
					}
				}
			}
		}
		going = next
	}
	return append(done, going...)
}

// act carries out a rule's target.
func (k *kernel) act(table string, r rule, w way) []way {
	switch r.target {
	case "ACCEPT", "DROP", "REJECT", "MASQUERADE", "RETURN":
		w.verdict = r.target
	case "DNAT":
		w.p.dst, w.verdict = r.to, "DNAT"
	case "MARK":
		w.mark = (w.mark | r.or) ^ r.xor
	default:
		return k.walk(table, r.target, w)
	}
	return []way{w}
}

// rule is a parsed rule: its matches as functions, its target with arguments.
type rule struct {
	match   []func(*kernel, way) bool
	prob    float64
	set     []string
	target  string
	to      netip.AddrPort
	or, xor uint32
}

func (r rule) matches(k *kernel, w way) float64 {
	for _, m := range r.match {
		if !m(k, w) {
			return 0
		}
	}
	return r.prob
}

func (k *kernel) parse(text string) rule {
	r := rule{prob: 1}
	words := split(text)
	not := false
	next := func() string {
		w := words[0]
		words = words[1:]
		return w
	}
	add := func(m func(*kernel, way) bool) {
		n := not
		r.match = append(r.match, func(k *kernel, w way) bool { return m(k, w) != n })
		not = false
	}
	for len(words) > 0 {
		switch w := next(); w {
		case "!":
			not = true
		case "-m":
			next() // loads an extension, whose options follow
		case "--comment", "--mode", "--seconds", "--reject-with":
			next()
		case "--reap", "--rsource", "--random-fully":
		case "-d", "-s":
			p := netip.MustParsePrefix(next())
			add(func(_ *kernel, v way) bool {
				if w == "-d" {
					return p.Contains(v.p.dst.Addr())
				}
				return p.Contains(v.p.src)
			})
		case "-p":
			proto := next()
			add(func(_ *kernel, v way) bool { return v.p.proto == proto })
		case "--dport":
			lo, hi := portRange(next())
			add(func(_ *kernel, v way) bool { return v.p.dst.Port() >= lo && v.p.dst.Port() <= hi })
		case "--probability":
			r.prob = number(next())
		case "--dst-type", "--src-type":
			if t := next(); t != "LOCAL" {
				panic("address type " + t)
			}
			add(func(k *kernel, v way) bool {
				if w == "--dst-type" {
					return k.isLocal(v.p.dst.Addr())
				}
				return k.isLocal(v.p.src)
			})
		case "--ctstate":
			states := strings.Split(next(), ",")
			add(func(_ *kernel, v way) bool { return slices.Contains(states, "NEW") })
		case "--mark":
			value, mask := markOf(next())
			add(func(_ *kernel, v way) bool { return v.mark&mask == value })
		case "--name":
			name := next()
			switch next() {
			case "--rcheck":
				add(func(k *kernel, _ way) bool { return k.recent[name] })
			case "--set":
				r.set = append(r.set, name)
			default:
				panic("recent: " + text)
			}
		case "-j":
			r.target = next()
		case "--to-destination":
			r.to = netip.MustParseAddrPort(next())
		case "--or-mark":
			r.or, _ = markOf(next())
		case "--xor-mark":
			r.xor, _ = markOf(next())
		default:
			panic(fmt.Sprintf("the interpreter does not know %q in %q", w, text))
		}
	}
	return r
}

// split cuts a rule into words; a quoted text is one.
func split(s string) (words []string) {
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

func number(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return f
}

func portRange(s string) (lo, hi uint16) {
	a, b, is := strings.Cut(s, ":")
	if !is {
		b = a
	}
	return uint16(number(a)), uint16(number(b))
}

func markOf(s string) (value, mask uint32) {
	a, b, is := strings.Cut(s, "/")
	v, err := strconv.ParseUint(a, 0, 32)
	if err != nil {
		panic(err)
	}
	if !is {
		return uint32(v), ^uint32(0)
	}
	m, _ := strconv.ParseUint(b, 0, 32)
	return uint32(v), uint32(m)
}
