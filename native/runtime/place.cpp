#include "runtime/place.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/size.h"
#include "runtime/fit.h"

namespace pw {
namespace {

constexpr size_t kMostValues = size_t{1} << 20;  // so that bytes of all of them, and offsets, are far below 2^63

std::string at_step(size_t s) { return "step " + std::to_string(s) + ": "; }

void check_value(const PlaceGraph& graph, int value, const std::string& where) {
  if (value < 0 || value >= static_cast<int>(graph.bytes.size()))
    throw Error(where + "value " + std::to_string(value) + " does not exist; there are " +
                std::to_string(graph.bytes.size()));
}

void check_hints(const PlaceGraph& graph, const PlaceStep& step, const std::string& where) {
  auto port = [&](int in, int out) {
    if (in < 0 || out < 0 || in >= static_cast<int>(step.in.size()) || out >= static_cast<int>(step.out.size()))
      throw Error(where + "a hint names input " + std::to_string(in) + " and output " + std::to_string(out) +
                  ", which do not both exist");
  };
  for (const Share& share : step.share) {
    port(share.in, share.out);
    const auto in = static_cast<int64_t>(graph.bytes[step.in[share.in]]);
    const auto out = static_cast<int64_t>(graph.bytes[step.out[share.out]]);
    const bool inside = share.offset >= 0 && share.offset <= out && in <= out - share.offset;
    const bool around = share.offset <= 0 && share.offset >= -in && out <= in + share.offset;
    if (!inside && !around)
      throw Error(where + "input " + std::to_string(share.in) + " of " + std::to_string(in) +
                  " bytes cannot lie at byte " + std::to_string(share.offset) + " of an output of " +
                  std::to_string(out) + ": neither lies inside the other");
  }
  for (const Reuse& reuse : step.reuse) port(reuse.in, reuse.out);
}

// A value's bytes [first, last) are bytes [first + shift, last + shift) of the value `origin`, as the step wrote them that
// has it for an output; who writes a value again is left out here (place.h).
struct Segment {
  uint64_t first, last;
  int origin;
  int64_t shift;
};
using Contents = std::vector<Segment>;  // ordered, without gaps

// Adds the part of `piece` that `contents` does not cover yet.
void add_uncovered(Contents& contents, const Segment& piece) {
  if (contents.empty() || contents.back().last <= piece.first) {  // as the parts of a concat come, one behind the other
    if (piece.first < piece.last) contents.push_back(piece);
    return;
  }
  Contents added;
  uint64_t from = piece.first;
  for (const Segment& have : contents) {
    if (have.last <= from) continue;
    if (have.first >= piece.last) break;
    if (have.first > from) added.push_back({from, have.first, piece.origin, piece.shift});
    from = have.last;
    if (from >= piece.last) break;
  }
  if (from < piece.last) added.push_back({from, piece.last, piece.origin, piece.shift});
  contents.insert(contents.end(), added.begin(), added.end());
  std::sort(contents.begin(), contents.end(), [](const Segment& a, const Segment& b) { return a.first < b.first; });
}

struct Member {
  int value;
  int64_t at;
};
struct Root {
  std::vector<Member> members;
  bool input = false;
};

class Placer {
 public:
  explicit Placer(const PlaceGraph& graph) : g_(graph), n_(static_cast<int>(graph.bytes.size())) {
    lives();
    contents();
    for (int v = 0; v < n_; ++v) {
      roots_.push_back({{{v, 0}}, is_input_[v]});
      root_of_.push_back(v);
      at_.push_back(0);
    }
  }

  Placement place() {
    for (const PlaceStep& step : g_.steps)
      for (const Share& s : step.share)
        join(step.in[s.in], step.out[s.out], -s.offset, false);
    for (const PlaceStep& step : g_.steps)
      for (const Reuse& r : step.reuse)
        if (g_.bytes[step.in[r.in]] == g_.bytes[step.out[r.out]]) join(step.in[r.in], step.out[r.out], 0, true);
    return assign();
  }

 private:
  void lives() {
    const int end = static_cast<int>(g_.steps.size());
    first_.assign(n_, -1);
    last_.assign(n_, -1);
    is_input_.assign(n_, false);
    is_output_.assign(n_, false);
    for (int s = 0; s < end; ++s) {
      for (int v : g_.steps[s].out) first_[v] = last_[v] = s;
      for (int v : g_.steps[s].in) last_[v] = s;
    }
    for (int v : g_.inputs) is_input_[v] = true, last_[v] = end;
    for (int v : g_.outputs) is_output_[v] = true, last_[v] = end;
  }

  void contents() {
    contents_.resize(n_);
    for (int v : g_.inputs) contents_[v] = {{0, g_.bytes[v], v, 0}};
    for (const PlaceStep& step : g_.steps) {
      for (const Share& share : step.share) {
        const int64_t end = static_cast<int64_t>(g_.bytes[step.out[share.out]]);
        for (const Segment& s : contents_[step.in[share.in]]) {
          const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(s.first) + share.offset);
          const int64_t last = std::min(end, static_cast<int64_t>(s.last) + share.offset);
          if (first < last)
            add_uncovered(contents_[step.out[share.out]], {static_cast<uint64_t>(first), static_cast<uint64_t>(last),
                                                           s.origin, s.shift - share.offset});
        }
      }
      for (int v : step.out) add_uncovered(contents_[v], {0, g_.bytes[v], v, 0});
    }
  }

  // Whether the bytes that a at `at_a` and b at `at_b` have in common hold the same contents.
  bool same_contents(int a, int64_t at_a, int b, int64_t at_b) const {
    const Contents &x = contents_[a], &y = contents_[b];
    for (size_t i = 0, j = 0; i < x.size() && j < y.size();) {
      const int64_t x_first = at_a + static_cast<int64_t>(x[i].first), x_last = at_a + static_cast<int64_t>(x[i].last);
      const int64_t y_first = at_b + static_cast<int64_t>(y[j].first), y_last = at_b + static_cast<int64_t>(y[j].last);
      const bool meet = x_first < y_last && y_first < x_last;
      if (meet && (x[i].origin != y[j].origin || x[i].shift - at_a != y[j].shift - at_b)) return false;
      (x_last <= y_last ? i : j) += 1;
    }
    return true;
  }

  bool overlap(int a, int64_t at_a, int b, int64_t at_b) const {
    const int64_t end_a = at_a + static_cast<int64_t>(g_.bytes[a]), end_b = at_b + static_cast<int64_t>(g_.bytes[b]);
    return std::max(at_a, at_b) < std::min(end_a, end_b);
  }

  // b is written in the step that reads a for the last time, and may overwrite it.
  bool overwrites(int a, int64_t at_a, int b, int64_t at_b) const {
    if (first_[b] < 0 || last_[a] != first_[b] || at_a != at_b || g_.bytes[a] != g_.bytes[b]) return false;
    const PlaceStep& step = g_.steps[first_[b]];
    return std::any_of(step.reuse.begin(), step.reuse.end(),
                       [&](const Reuse& r) { return step.in[r.in] == a && step.out[r.out] == b; });
  }

  bool compatible(int a, int64_t at_a, int b, int64_t at_b) const {
    if (!overlap(a, at_a, b, at_b) || last_[a] < first_[b] || last_[b] < first_[a]) return true;
    return same_contents(a, at_a, b, at_b) || overwrites(a, at_a, b, at_b) || overwrites(b, at_b, a, at_a);
  }

  // Whether a kernel may find its input `i` at `at_in` while its output `o` lies at `at_out`. Bytes that are shared by
  // one hint are not written, so that another input may be read from there too.
  bool hinted(const PlaceStep& step, int i, int64_t at_in, int o, int64_t at_out) const {
    for (const Share& s : step.share)
      if (step.in[s.in] == step.in[i] && s.out == o && at_in == at_out + s.offset) return true;
    for (const Reuse& r : step.reuse)
      if (r.in == i && r.out == o && at_in == at_out && g_.bytes[step.in[i]] == g_.bytes[step.out[o]]) return true;
    return false;
  }

  // Checks the step that writes `out` against its inputs that lie in root `other`, moved by `shift`.
  bool step_allows(int out, int64_t at_out, int other, int64_t shift) const {
    if (first_[out] < 0) return true;
    const PlaceStep& step = g_.steps[first_[out]];
    const int o = static_cast<int>(std::find(step.out.begin(), step.out.end(), out) - step.out.begin());
    for (int i = 0; i < static_cast<int>(step.in.size()); ++i) {
      const int v = step.in[i];
      if (root_of_[v] != other || !overlap(v, at_[v] + shift, out, at_out)) continue;
      if (!hinted(step, i, at_[v] + shift, o, at_out)) return false;
    }
    return true;
  }

  // An alias of a caller's input is never written: it must lie inside the input, and be nobody's output.
  bool input_allows(int a, int b, int64_t delta, bool reuse) const {
    const bool from_input = roots_[root_of_[a]].input, to_input = roots_[root_of_[b]].input;
    if (!from_input && !to_input) return true;
    return from_input && !to_input && !reuse && inside(b, delta, a) && !is_output_[b] &&
           roots_[root_of_[b]].members.size() == 1;
  }

  // Whether v at byte `at` of w lies inside it.
  bool inside(int v, int64_t at, int w) const {
    return at >= 0 && at + static_cast<int64_t>(g_.bytes[v]) <= static_cast<int64_t>(g_.bytes[w]);
  }

  // A step that writes straight into a caller's output is not made to write beside it, whence it would be copied: a part
  // of a value, or a result in place of a part, has its copy there already.
  bool output_allows(int a, int b, int64_t delta, bool reuse) const {
    if (!reuse && (!inside(b, delta, a) || g_.bytes[a] == g_.bytes[b])) return true;
    const Root &from = roots_[root_of_[a]], &to = roots_[root_of_[b]];
    const auto length = [&](const Root& root) {
      const auto [low, high] = extent(root);
      return high - low;
    };
    const int64_t own = length(to);
    return own >= length(from) || std::none_of(to.members.begin(), to.members.end(), [&](const Member& m) {
             return is_output_[m.value] && static_cast<int64_t>(g_.bytes[m.value]) == own;
           });
  }

  // Puts b at at(a) + delta if that is legal.
  void join(int a, int b, int64_t delta, bool reuse) {
    const int ra = root_of_[a], rb = root_of_[b];
    if (ra == rb || g_.device[a] != g_.device[b] || !input_allows(a, b, delta, reuse) ||
        !output_allows(a, b, delta, reuse))
      return;
    const int64_t shift = at_[a] + delta - at_[b];  // of b's root, seen from a's
    for (const Member& m : roots_[ra].members)
      for (const Member& w : roots_[rb].members)
        if (!compatible(m.value, m.at, w.value, w.at + shift)) return;
    for (const Member& m : roots_[ra].members)
      if (!step_allows(m.value, m.at, rb, shift)) return;
    for (const Member& w : roots_[rb].members)
      if (!step_allows(w.value, w.at + shift, ra, 0)) return;
    for (const Member& w : roots_[rb].members) {
      roots_[ra].members.push_back({w.value, w.at + shift});
      root_of_[w.value] = ra;
      at_[w.value] = w.at + shift;
    }
    roots_[rb].members.clear();
  }

  // First and last byte of a root.
  std::pair<int64_t, int64_t> extent(const Root& root) const {
    int64_t low = root.members[0].at, high = low;
    for (const Member& m : root.members) {
      low = std::min(low, m.at);
      high = std::max(high, m.at + static_cast<int64_t>(g_.bytes[m.value]));
    }
    return {low, high};
  }

  // Makes the lowest byte of a root 0 and gives its length.
  uint64_t normalise(Root& root) {
    const auto [low, high] = extent(root);
    for (Member& m : root.members) m.at -= low, at_[m.value] = m.at;
    return static_cast<uint64_t>(high - low);
  }

  // The caller's output that is exactly this root, -1 without one.
  int whole_output(int root, uint64_t extent) const {
    for (size_t j = 0; j < g_.outputs.size(); ++j) {
      const int v = g_.outputs[j];
      if (root_of_[v] == root && at_[v] == 0 && g_.bytes[v] == extent) return static_cast<int>(j);
    }
    return -1;
  }

  int input_index(const Root& root) const {
    for (size_t j = 0; j < g_.inputs.size(); ++j)
      if (root_of_[g_.inputs[j]] == root_of_[root.members[0].value]) return static_cast<int>(j);
    return -1;
  }

  Placement assign() {
    Placement p;
    p.values.resize(n_);
    const int devices = n_ ? *std::max_element(g_.device.begin(), g_.device.end()) + 1 : 0;
    p.arena.assign(devices, 0);
    std::vector<std::vector<Block>> blocks(devices);
    std::vector<std::vector<int>> owners(devices);
    for (int r = 0; r < n_; ++r) {
      Root& root = roots_[r];
      if (root.members.empty()) continue;
      const uint64_t extent = normalise(root);
      const int output = root.input ? -1 : whole_output(r, extent);
      if (root.input || output >= 0) {
        const Where where = root.input ? Where::input : Where::output;
        const int index = root.input ? input_index(root) : output;
        for (const Member& m : root.members) p.values[m.value] = {where, index, static_cast<uint64_t>(m.at)};
        continue;
      }
      const int d = g_.device[root.members[0].value];
      blocks[d].push_back({extent, parts(root)});
      owners[d].push_back(r);
    }
    for (int d = 0; d < devices; ++d) {
      const auto offsets = best_fit(blocks[d], p.arena[d]);
      for (size_t i = 0; i < offsets.size(); ++i)
        for (const Member& m : roots_[owners[d][i]].members)
          p.values[m.value] = {Where::arena, owners[d][i], offsets[i] + static_cast<uint64_t>(m.at)};
    }
    p.peak = std::accumulate(p.arena.begin(), p.arena.end(), uint64_t{0});
    for (int v = 0; v < n_; ++v) {
      const Spot& spot = p.values[v];
      const bool direct = spot.where == Where::output && g_.outputs[spot.root] == v;
      if (!is_input_[v] && !direct) p.unshared += align64(g_.bytes[v]);
    }
    return p;
  }

  std::vector<Part> parts(const Root& root) const {
    std::vector<Part> all;
    for (const Member& m : root.members)
      all.push_back({static_cast<uint64_t>(m.at), g_.bytes[m.value], first_[m.value], last_[m.value]});
    return all;
  }

  const PlaceGraph& g_;
  const int n_;
  std::vector<int> first_, last_;  // life of each value, in steps
  std::vector<bool> is_input_, is_output_;
  std::vector<Contents> contents_;
  std::vector<Root> roots_;
  std::vector<int> root_of_;
  std::vector<int64_t> at_;  // of each value in its root
};

}  // namespace

void check(const PlaceGraph& graph) {
  if (graph.device.size() != graph.bytes.size()) throw Error("every value needs a device");
  if (graph.bytes.size() > kMostValues)
    throw Error(std::to_string(graph.bytes.size()) + " values: expected at most " + std::to_string(kMostValues));
  for (size_t v = 0; v < graph.bytes.size(); ++v)
    if (graph.bytes[v] > static_cast<uint64_t>(kMostBytes) || graph.device[v] < 0)
      throw Error("value " + std::to_string(v) + ": " + std::to_string(graph.bytes[v]) + " bytes on device " +
                  std::to_string(graph.device[v]) + " is not possible");
  std::vector<bool> written(graph.bytes.size(), false);
  auto write = [&](int v, const std::string& where) {
    check_value(graph, v, where);
    if (written[v]) throw Error(where + "value " + std::to_string(v) + " is written a second time");
    written[v] = true;
  };
  for (int v : graph.inputs) write(v, "inputs: ");
  for (size_t s = 0; s < graph.steps.size(); ++s) {
    for (int v : graph.steps[s].in) {
      check_value(graph, v, at_step(s));
      if (!written[v]) throw Error(at_step(s) + "value " + std::to_string(v) + " is read before it is written");
    }
    for (int v : graph.steps[s].out) write(v, at_step(s));
    check_hints(graph, graph.steps[s], at_step(s));
  }
  for (int v : graph.outputs) check_value(graph, v, "outputs: ");
  for (size_t v = 0; v < written.size(); ++v)
    if (!written[v]) throw Error("value " + std::to_string(v) + " is never written");
}

const char* where_name(Where where) {
  static constexpr const char* names[] = {"arena", "input", "output"};
  return names[static_cast<int>(where)];
}

Placement place(const PlaceGraph& graph) { return Placer(graph).place(); }

}  // namespace pw
