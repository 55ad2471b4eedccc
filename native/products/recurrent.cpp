#include "products/recurrent.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/cpu.h"
#include "base/size.h"
#include "spi/activation.h"
#include "values/strided.h"

namespace pw {
namespace {

// Sums of the inputs that are kept for later steps, in bytes: they stay in the shared cache.
constexpr int64_t kChunkBytes = int64_t{4} << 20;
// n shares of a step take work / n, and a meeting that grows with n: this many multiplications for each of them.
constexpr int64_t kMeeting = 2400;
// Bytes of sums that are made before their cells follow: as many as stay in L1.
constexpr int64_t kFreshBytes = int64_t{16} << 10;
// Sequences whose products take long enough to fetch weights behind them.
constexpr int64_t kFetching = 5;
// Row pointers of a thread.
constexpr int64_t kPointers = 256;

// Inputs by what they are.
enum Input { kX, kW, kR, kB, kLengths, kH, kC, kP };

std::optional<ActArgs> plain_activation(const GateFunction& f) {
  const auto alpha = static_cast<float>(f.alpha), beta = static_cast<float>(f.beta);
  if (f.name == "affine") return kNoActivation;
  if (f.name == "scaled_tanh") return activation("tanh", {});
  // Here alpha itself is passed on; the activation passes on what is larger.
  if (f.name == "thresholded_relu")
    return activation(f.name, {std::nextafter(alpha, -std::numeric_limits<float>::infinity())});
  if (f.name == "hard_sigmoid") return activation(f.name, {alpha, beta});
  if (f.name == "leaky_relu" || f.name == "elu") return activation(f.name, {alpha});
  return activation(f.name, {});
}

bool is_constant(const Problem& p, size_t i) { return !p.has(i) || p.in[i].constant; }

std::vector<GatePart> parts_of(const Recurrence& r) {
  if (r.cell == Cell::gru && !r.linear) return {{0, 2}, {2, 1}};
  return {{0, r.gates}};
}

}  // namespace

std::optional<std::vector<GateAct>> gate_acts(const Recurrence& r, bool clips_last) {
  std::vector<GateAct> acts;
  for (size_t i = 0; i < r.functions.size(); ++i) {
    const GateFunction& f = r.functions[i];
    const auto act = plain_activation(f);
    if (!act || ukernels_of<RecurrentF32>(PW_KIND_RECURRENT_F32, true, act->act).empty()) return std::nullopt;
    const bool clips = r.clip > 0 && (clips_last || i % 3 != 2);
    GateAct gate{*act, clips ? static_cast<float>(r.clip) : std::numeric_limits<float>::infinity(), 1, 1, 0};
    if (f.name == "affine") gate.scale = static_cast<float>(f.alpha), gate.shift = static_cast<float>(f.beta);
    if (f.name == "scaled_tanh") gate.scale = static_cast<float>(f.alpha), gate.in = static_cast<float>(f.beta);
    acts.push_back(gate);
  }
  return acts;
}

// What one run works on.
struct RecurrentKernel::Run {
  RecurrentRun of;
  const float *x, *w, *r, *b, *h, *c, *p;
  float* out[3];
  char* workspace;
  const float *bias, *weights[2][2];
  float *sums[2], *more, *hidden, *cell, *reset;

  // The hidden or cell states of a direction before step s.
  float* before(float* states, int64_t s, int64_t d, int64_t directions, int64_t units) const {
    return states + ((s & 1) * directions + d) * of.batch * units;
  }
};

Verdict RecurrentKernel::accepts(const Problem& p) {
  if (Verdict v = accepts_recurrent(p, DType::f32); !v) return v;
  if (p.in[1].count() == 0 || p.in[2].count() == 0) return Verdict::no("the weights are empty");
  if (gemm_variants(Layout::plain).empty() || ukernel_names(PW_KIND_RECURRENT_F32).empty())
    return Verdict::no("no micro-kernel in this tier");
  const Recurrence r(p);
  if (!gate_acts(r)) return Verdict::no("no micro-kernel applies one of the activations");
  const int64_t batch = p.in[0].shape[r.batch_first ? 0 : 1], steps = p.in[0].shape[r.batch_first ? 1 : 0];
  // The sums of one step and the states.
  if (saturated(saturated(r.directions * 16 * 4, r.hidden + 1024), batch) > kMostBytes)
    return Verdict::no("the states take more than 2^40 bytes");
  if (steps > (1 << 18)) return Verdict::no("there are more than 2^18 steps");
  return Verdict::ok();
}

RecurrentKernel::RecurrentKernel(const Problem& p, const std::string& variant, const Constants& constants)
    : r_(p),
      kernel_(variant_ukernel<GemmF32>(PW_KIND_GEMM_F32, variant)),
      cell_kernel_(best_ukernel<RecurrentF32>(PW_KIND_RECURRENT_F32)),
      operands_(p, constants),
      acts_(*gate_acts(r_)),
      parts_(parts_of(r_)),
      dynamic_(p.dynamic()),
      threads_(p.threads),
      patience_(p.threads),
      processors_(usable_processors()),
      outputs_(p.out.size()) {
  const auto fits = [&](int64_t blocks) {
    return std::all_of(parts_.begin(), parts_.end(),
                       [&](const GatePart& q) { return blocks * q.gates * kUnits % kernel_.columns == 0; });
  };
  for (piece_blocks_ = 1; !fits(piece_blocks_);) ++piece_blocks_;
  blocks_ = round_up(divide_up(r_.hidden, kUnits), piece_blocks_);
  if (p.has(kLengths)) lengths_type_ = p.in[kLengths].dtype;
  for (size_t i : {kLengths, kH, kC})
    if (p.has(i) && p.in[i].constant) batch_open_ = false;
  const std::string key = "recurrent/" + p.kind + "/" + std::to_string(r_.linear) + "/" + std::to_string(piece_blocks_) + "/" +
                          std::to_string(kernel_.columns) + "/";
  for (int which = 0; which < 2; ++which) {
    const size_t input = which ? kR : kW;
    packs_ = packs_ || !p.in[input].constant;
    if (!p.in[input].constant) continue;
    for (int part = 0; part < parts(); ++part) {
      const int64_t count = r_.directions * panels(part);
      const size_t bytes = static_cast<size_t>(count * panel_floats(which)) * 4;
      packed_[static_cast<size_t>(which)][static_cast<size_t>(part)] =
          shared_packing(constants[input].id, key + std::to_string(2 * which + part), [&] {
            Buffer to(bytes);
            parallel_for(count, [&](int64_t first, int64_t last) {
              pack(constants[input].as<float>(), which, part, to.as<float>(), first, last);
            });
            return to;
          }, bytes);
    }
  }
  constant_bias_ = is_constant(p, kB) && is_constant(p, kP);
  packs_ = packs_ || !constant_bias_;
  if (constant_bias_) {
    bias_ = Buffer(static_cast<size_t>(r_.directions * bias_floats()) * 4);
    pack_biases(operands_.get<float>(kB, nullptr), operands_.get<float>(kP, nullptr), bias_.as<float>());
  }
  plan(p);
}

// Phases, and where everything lies in the workspace.
void RecurrentKernel::plan(const Problem& p) {
  const RecurrentRun most(r_, p.in[0].shape.data(), nullptr, DType::i32);
  const int64_t batch = std::max<int64_t>(1, most.batch), steps = std::max<int64_t>(1, most.steps);
  const int64_t states = r_.directions * batch * units() * 4;
  chunk_ = std::clamp<int64_t>(kChunkBytes / (states * r_.gates), 1, steps);
  chunks_ = divide_up(steps, chunk_);
  most_batch_ = batch;
  const auto room = [&](int64_t bytes) {
    const int64_t at = areas_.total;
    areas_.total += round_up(bytes, 64);
    return at;
  };
  areas_.pointers = room(kPointers * threads_);
  areas_.shares = room(r_.directions * std::min<int64_t>(threads_, kMostLockstep) * static_cast<int64_t>(sizeof(LockstepShare)));
  areas_.bias = room(constant_bias_ ? 0 : r_.directions * bias_floats() * 4);
  for (int i = 0; i < parts(); ++i) areas_.sums[i] = room(states * parts_[static_cast<size_t>(i)].gates * chunk_);
  areas_.more = room(r_.linear ? states * r_.gates : 0);
  areas_.hidden = room(2 * states);
  areas_.cell = room(r_.cell == Cell::lstm ? 2 * states : 0);
  areas_.reset = room(parts() > 1 ? states : 0);
  for (int which = 0; which < 2; ++which)
    for (int part = 0; part < parts(); ++part)
      areas_.weights[which][part] =
          room(packed(which, part) ? 0 : r_.directions * panels(part) * panel_floats(which) * 4);
}

size_t RecurrentKernel::packed_bytes() const {
  size_t bytes = bias_.bytes();
  for (const auto& of : packed_)
    for (const auto& part : of) bytes += part ? part->bytes() : 0;
  return bytes;
}

bool RecurrentKernel::open(size_t port, size_t axis) const {
  const size_t batch = r_.batch_first ? 0 : 1;
  if (port < dynamic_.size()) {
    const int input = dynamic_[port];
    if (input == kX) return axis == 1 - batch || (axis == batch && batch_open_);
    if (input == kLengths) return batch_open_;
    return (input == kH || input == kC) && axis == batch && batch_open_;
  }
  if (port > dynamic_.size()) return axis == batch && batch_open_;
  return axis == (r_.batch_first ? 1 : 0) || (axis == (r_.batch_first ? 0 : 2) && batch_open_);
}

// Directions go side by side. Where the shared cache holds the weights of one but not of both, they go one behind the other;
// a team of an odd number of threads goes through both together, where they have shares for all.
RecurrentKernel::Roles RecurrentKernel::roles(int64_t threads, int64_t batch) const {
  threads = std::min<int64_t>(threads, processors_);  // more would wait for each other's processor in every step
  const double work = static_cast<double>(r_.gates * r_.hidden * r_.hidden) * static_cast<double>(std::max<int64_t>(1, batch));
  const auto worth = [&](double of, int64_t most) {
    return std::clamp<int64_t>(static_cast<int64_t>(std::sqrt(of / kMeeting)), 1, std::min({threads, most, kMostLockstep}));
  };
  if (r_.directions == 1) return {1, worth(work, pieces()), 1};
  const double bytes = 4.0 * static_cast<double>(r_.gates * r_.hidden * r_.hidden), half = static_cast<double>(cpu().l3) / 2;
  if (threads > 1 && bytes <= half && 2 * bytes > half) return {1, worth(work, pieces()), 2};
  const int64_t each = std::min(worth(work, pieces()), std::max<int64_t>(1, threads / 2));
  if (threads % 2 && threads > 1 && worth(work, pieces()) > each) return {1, worth(2 * work, 2 * pieces()), 1};
  return {2, each, 1};
}

Memory RecurrentKernel::reads_first(int64_t phase, uint32_t index, uint32_t count) const {
  if (phase < packs_ || (phase - packs_) % 2 == 0 || !packed(1, 0)) return {};
  const Roles of = roles(count, most_batch_);
  const auto role = Team::own_first(of.count(), index, count);
  if (!role) return {};
  const int64_t floats = r_.directions * panels(0) * panel_floats(1), of_piece = floats / (r_.directions * pieces());
  const int64_t from = first_piece(of, *role / of.shares, *role % of.shares) * of_piece;
  return {packed(1, 0)->as<float>() + from, static_cast<uint64_t>(floats - from) * 4};
}

// Panels [first, last) of those of all directions.
void RecurrentKernel::pack(const float* weights, int which, int part, float* to, int64_t first, int64_t last) const noexcept {
  const GatePart gates = parts_[static_cast<size_t>(part)];
  const int64_t tile = kernel_.columns, rows = depth(which), of_block = gates.gates * kUnits;
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t d = panel / panels(part);
    float* data = to + panel * rows * tile;
    for (int64_t c = 0; c < tile; ++c) {
      const int64_t column = panel % panels(part) * tile + c, within = column % of_block;
      const int64_t unit = column / of_block * kUnits + within % kUnits, gate = gates.first + within / kUnits;
      if (unit >= r_.hidden) {
        for (int64_t k = 0; k < rows; ++k) data[k * tile + c] = 0;
        continue;
      }
      const float* row = weights + ((d * r_.gates + gate) * r_.hidden + unit) * rows;
      for (int64_t k = 0; k < rows; ++k) data[k * tile + c] = row[k];
    }
  }
}

void RecurrentKernel::pack_biases(const float* b, const float* p, float* to) const noexcept {
  std::memset(to, 0, static_cast<size_t>(r_.directions * bias_floats()) * 4);
  const int64_t hidden = r_.hidden;
  for (int64_t d = 0; d < r_.directions; ++d, to += bias_floats()) {
    const float *of_x = b ? b + d * 2 * r_.rows() : nullptr, *of_h = b ? of_x + r_.rows() : nullptr;
    for (int64_t unit = 0; unit < hidden; ++unit) {
      const int64_t block = unit / kUnits, at = unit % kUnits;
      float* part_bias = to;
      for (const GatePart& part : parts_) {
        for (int64_t g = 0; b && g < part.gates; ++g) {
          const int64_t i = (part.first + g) * hidden + unit;
          // In a linear GRU the bias of h in the last gate is multiplied like the sum.
          const bool apart = r_.linear && g == 2;
          part_bias[(block * part.gates + g) * kUnits + at] = apart ? of_x[i] : of_x[i] + of_h[i];
          if (apart) to[4 * units() + (block * 3 + g) * kUnits + at] = of_h[i];
        }
        part_bias += part.gates * units();
      }
      for (int64_t g = 0; p && g < 3; ++g)
        to[8 * units() + (block * 3 + g) * kUnits + at] = p[(d * 3 + g) * hidden + unit];
    }
  }
}

void RecurrentKernel::pack_values(const Run& run, Team& team) const noexcept {
  for (int which = 0; which < 2; ++which)
    for (int part = 0; part < parts(); ++part) {
      if (packed(which, part)) continue;
      const float* from = which ? run.r : run.w;
      auto* to = reinterpret_cast<float*>(run.workspace + areas_.weights[which][part]);
      team.each(r_.directions * panels(part), 4,
                [&](int64_t first, int64_t last) { pack(from, which, part, to, first, last); });
    }
  if (!constant_bias_)
    team.each(1, 1, [&](int64_t, int64_t) {
      pack_biases(run.b, run.p, reinterpret_cast<float*>(run.workspace + areas_.bias));
    });
}

// The states before the first step, and the last ones where there is no step at all.
void RecurrentKernel::start(const Run& run) const noexcept {
  const auto bytes = static_cast<size_t>(r_.hidden) * 4;
  const int states = r_.cell == Cell::lstm ? 2 : 1;
  for (int state = 0; state < states; ++state)
    for (int64_t d = 0; d < r_.directions; ++d) {
      float* to = run.before(state ? run.cell : run.hidden, 0, d, r_.directions, units());
      const float* from = state ? run.c : run.h;
      for (int64_t b = 0; b < run.of.batch; ++b, to += units()) {
        std::memset(to, 0, static_cast<size_t>(units()) * 4);
        if (from) std::memcpy(to, from + r_.state_row(d, b, run.of.batch), bytes);
        if (run.of.steps == 0 && run.out[1 + state])
          std::memset(run.out[1 + state] + r_.state_row(d, b, run.of.batch), 0, bytes);
      }
    }
}

LockstepShare* RecurrentKernel::shares(const Run& run, int64_t group) const {
  return reinterpret_cast<LockstepShare*>(run.workspace + areas_.shares) + group * std::min<int64_t>(threads_, kMostLockstep);
}

// The sums of x for the steps from `first` on, of every direction and part. Before the first of all the states begin.
int RecurrentKernel::project(const Run& run, int64_t first, Team& team) const noexcept {
  const int64_t batch = run.of.batch, rows = std::min(chunk_, run.of.steps - first) * batch;
  auto** pointers = reinterpret_cast<const float**>(run.workspace + areas_.pointers + team.index * kPointers);
  bool fits = true;
  team.each(1, 1, [&](int64_t, int64_t) {
    for (LockstepShare* share = shares(run, 0); share < shares(run, r_.directions); ++share) share->reset();
    if (first > 0) return;
    fits = run.of.fits();
    start(run);
  });
  // The weights of one row are read once, by who needs its sums.
  for (int64_t d = 0; d < r_.directions && rows > 1; ++d)
    for (int part = 0; part < parts(); ++part) {
      const int64_t own = r_.features * kernel_.columns * 4;
      const Blocking blocking =
          block(divide_up(rows, kernel_.rows), panels(part), own, kernel_.rows * r_.features * 4, threads_);
      const float* bias = run.bias + d * bias_floats() + (part ? columns(0) : 0);
      const Product product{&kernel_, run.weights[0][part] + d * panels(part) * panel_floats(0), bias, kNoActivation, rows,
                            columns(part), 1, r_.features, std::min<int64_t>(512, r_.features), columns(part), 16, blocking};
      float* sums = run.sums[part] + d * rows * columns(part);
      walk(product, sums, nullptr, pointers, team, [&](int64_t row, int64_t count, const float** to) {
        int64_t s = row / batch, b = row % batch;
        for (int64_t i = 0; i < count; ++i) {
          const int64_t t = run.of.time(first + s, run.of.length(b), r_.backward(d));
          to[i] = run.x + r_.x_row(t, b, run.of.steps, batch);
          if (++b == batch) b = 0, ++s;
        }
        for (int64_t i = count; i < kernel_.rows; ++i) to[i] = to[count - 1];
      });
    }
  return fits ? 0 : kOutside;
}

// All steps from `first` on whose sums are kept. A step of two parts is two in which threads meet.
void RecurrentKernel::steps(const Run& run, int64_t first, Team& team) const noexcept {
  const int64_t count = std::min(chunk_, run.of.steps - first);
  const Roles of = roles(team.count, run.of.batch);
  if (count <= 0) return;
  const auto own = [&] { return reinterpret_cast<const float**>(run.workspace + areas_.pointers + team.index * kPointers); };
  // Of a single step who is done takes what a thread that came late has left.
  if (count * parts() == 1) {
    const int64_t grain = divide_up(pieces(), divide_up(4 * of.count(), r_.directions)), each = divide_up(pieces(), grain);
    team.each(r_.directions * each, 1, [&](int64_t i, int64_t) {
      const int64_t from = i % each * grain;
      stretch(run, {first, 0, i / each, 0, from, std::min(pieces(), from + grain), run.of.batch == 1}, own());
    });
    return;
  }
  team.each(of.count(), 1, [&](int64_t role, int64_t) {
    const int64_t group = role / of.shares;
    auto** pointers = own();
    const int64_t ticks = count * parts();
    lockstep(shares(run, group), of.shares, role % of.shares, of.turns * ticks, patience_, [&](int64_t step, int64_t share) {
      const int64_t turn = group + step / ticks, row = step % ticks / parts(), last = first_piece(of, turn, share + 1);
      for (int64_t from = first_piece(of, turn, share); from < last;) {
        const int64_t d = from / pieces(), to = std::min(last, (d + 1) * pieces());
        stretch(run, {first + row, row, d, static_cast<int>(step % parts()), from - d * pieces(), to - d * pieces(),
                      count * run.of.batch == 1}, pointers);
        from = to;
      }
    });
  });
}

float* RecurrentKernel::sums_of(const Run& run, const Stretch& at, int part) const noexcept {
  const int64_t steps = std::min(chunk_, run.of.steps - (at.s - at.row));
  return run.sums[part] + (at.d * steps + at.row) * run.of.batch * columns(part);
}

// Some pieces at a time. Every other step goes through them backwards: what the caches hold of the weights are those that were
// read last.
void RecurrentKernel::stretch(const Run& run, Stretch at, const float** pointers) const noexcept {
  const Stretch all = at;
  const int64_t width = piece_columns(at.part), together = std::max<int64_t>(1, kFreshBytes / (run.of.batch * width * 4));
  const int64_t runs = divide_up(all.to - all.from, together);
  float* sums = (r_.linear ? run.more + at.d * run.of.batch * columns(0) : sums_of(run, at, at.part));
  const float* h_before = run.before(run.hidden, at.s, at.d, r_.directions, units());
  const float* from = at.part ? run.reset + at.d * run.of.batch * units() : h_before;
  const float* bias = r_.linear ? run.bias + at.d * bias_floats() + 4 * units() : nullptr;
  for (int64_t i = 0; i < runs; ++i) {
    at.from = all.from + (at.s % 2 ? runs - 1 - i : i) * together;
    at.to = std::min(all.to, at.from + together);
    const int64_t column = at.from * width;
    const auto bytes = static_cast<size_t>((at.to - at.from) * width) * 4;
    if (at.alone) {
      const int64_t t = run.of.time(at.s, run.of.length(0), r_.backward(at.d));
      float* of_x = sums_of(run, at, at.part) + column;
      std::memcpy(of_x, run.bias + at.d * bias_floats() + (at.part ? columns(0) : 0) + column, bytes);
      multiply_row(run.x + r_.x_row(t, 0, run.of.steps, 1), 0, run, at, of_x);
    }
    if (at.s > 0 || run.h) {
      multiply(run, at, from, sums + column, bias ? bias + column : nullptr, pointers);
    } else if (bias) {  // h is 0 before the first step, and its products are
      for (int64_t b = 0; b < run.of.batch; ++b) std::memcpy(sums + b * columns(at.part) + column, bias + column, bytes);
    }
    cells(run, at);
  }
  if (at.part + 1 == parts()) hand_out(run, all);
}

// += x * weights of one row, in streams.
void RecurrentKernel::multiply_row(const float* x, int which, const Run& run, const Stretch& at, float* sums) const noexcept {
  constexpr int64_t kStrip = 8;  // panels: those that are read side by side, or twice as many
  const int64_t tile = kernel_.columns, of_piece = piece_columns(at.part) / tile, count = (at.to - at.from) * of_piece;
  const float* weights = run.weights[which][at.part] + (at.d * panels(at.part) + at.from * of_piece) * panel_floats(which);
  for (int64_t i = 0; i < count; i += kStrip) {
    const int64_t first = at.s % 2 ? (count - 1 - i) / kStrip * kStrip : i;
    cell_kernel_.row(x, weights + first * panel_floats(which), panel_floats(which), tile, depth(which),
                     std::min(kStrip, count - first), sums + first * tile);
  }
}

// Sums of some pieces of hidden units of all sequences: += from * R, or bias + from * R.
void RecurrentKernel::multiply(const Run& run, const Stretch& at, const float* from, float* sums, const float* bias,
                               const float** pointers) const noexcept {
  const int64_t tile = kernel_.columns, width = (at.to - at.from) * piece_columns(at.part);
  const float* weights =
      run.weights[1][at.part] + (at.d * panels(at.part) + at.from * (piece_columns(at.part) / tile)) * panel_floats(1);
  if (run.of.batch == 1) {
    if (bias) std::memcpy(sums, bias, static_cast<size_t>(width) * 4);
    multiply_row(from, 1, run, at, sums);
    return;
  }
  if (cell_kernel_.rows && tile == kUnits && run.of.batch >= kFetching) {
    const RowsF32Args args{from, units(), weights, panel_floats(1), r_.hidden, run.of.batch, width / tile, bias, sums,
                           columns(at.part)};
    cell_kernel_.rows(&args);
    return;
  }
  const int64_t each = piece_columns(at.part);
  GemmF32Args args{};
  args.a = pointers;
  args.taps = 1;
  args.depth = r_.hidden;
  args.b_panel = panel_floats(1);
  args.columns = each;
  args.c_row = columns(at.part);
  args.c_group = 16;
  args.act = kNoActivation;
  args.first = bias != nullptr;
  args.last = true;
  const int64_t count = divide_up(run.of.batch, kernel_.rows);
  const EvenParts tiles(run.of.batch, count);
  // All rows of a piece before the next one: its weights are in L2 then.
  for (int64_t column = 0; column < width; column += each) {
    args.b = weights + column / tile * panel_floats(1);
    args.bias = bias ? bias + column : nullptr;
    for (int64_t i = 0; i < count; ++i) {
      const auto [row, rows] = tiles[i];
      for (int64_t k = 0; k < kernel_.rows; ++k) pointers[k] = from + (row + std::min(k, rows - 1)) * units();
      args.rows = rows;
      args.c = sums + column + row * columns(at.part);
      kernel_.run(&args);
    }
  }
}

void RecurrentKernel::cells(const Run& run, const Stretch& at) const noexcept {
  const int64_t d = at.d, batch = run.of.batch, block = at.from * piece_blocks_, unit = block * kUnits;
  const int64_t gates = parts_[static_cast<size_t>(at.part)].gates;
  const auto state = [&](float* states, int64_t s) { return run.before(states, s, d, r_.directions, units()) + unit; };
  CellF32Args args{};
  args.rows = batch;
  args.blocks = std::min(at.to * piece_blocks_, divide_up(r_.hidden, kUnits)) - block;
  if (args.blocks <= 0) return;
  args.state_row = units();
  args.coupled = r_.coupled;
  for (int64_t i = 0; i < r_.per_direction(); ++i) args.act[i] = acts_[static_cast<size_t>(d * r_.per_direction() + i)];
  args.sums_block = gates * kUnits;
  args.sums_row = columns(at.part);
  args.sums = (r_.linear ? run.more + d * batch * columns(0) : sums_of(run, at, at.part)) + block * args.sums_block;
  args.h_before = state(run.hidden, at.s);
  args.h = state(run.hidden, at.s + 1);
  if (r_.cell == Cell::lstm) {
    args.c_before = state(run.cell, at.s);
    args.c = state(run.cell, at.s + 1);
    if (operands_.given(kP)) args.peepholes = run.bias + d * bias_floats() + 8 * units() + block * 3 * kUnits;
    return cell_kernel_.lstm(&args);
  }
  if (r_.cell == Cell::rnn) return cell_kernel_.rnn(&args);
  if (at.part == 0 && parts() > 1) {
    args.reset = run.reset + d * batch * units() + unit;
    return cell_kernel_.gru_reset(&args);
  }
  args.more_block = (r_.linear ? 3 : 2) * kUnits;
  args.more_row = columns(0);
  args.more = sums_of(run, at, 0) + block * args.more_block;
  r_.linear ? cell_kernel_.gru_linear(&args) : cell_kernel_.gru_update(&args);
}

// The states after a step go to where they belong; those of a sequence that has ended stay what they were.
void RecurrentKernel::hand_out(const Run& run, const Stretch& at) const noexcept {
  const int64_t s = at.s, d = at.d, batch = run.of.batch, unit = at.from * piece_blocks_ * kUnits;
  const int64_t count = std::min(at.to * piece_blocks_ * kUnits, r_.hidden) - unit;
  if (count <= 0) return;
  const auto bytes = static_cast<size_t>(count) * 4;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = run.of.length(b), t = run.of.time(s, length, r_.backward(d));
    const auto state = [&](float* states, int64_t step) {
      return run.before(states, step, d, r_.directions, units()) + b * units() + unit;
    };
    float* states[2] = {run.hidden, run.cell};
    for (int i = 0; i < (r_.cell == Cell::lstm ? 2 : 1); ++i) {
      float* after = state(states[i], s + 1);
      if (s >= length) std::memcpy(after, state(states[i], s), bytes);
      if (s + 1 < run.of.steps || !run.out[1 + i]) continue;
      float* last = run.out[1 + i] + r_.state_row(d, b, batch) + unit;
      if (length > 0) std::memcpy(last, after, bytes);
      else std::memset(last, 0, bytes);
    }
    float* y = run.out[0] + r_.y_row(t, d, b, run.of.steps, batch) + unit;
    if (s < length) std::memcpy(y, state(run.hidden, s + 1), bytes);
    else std::memset(y, 0, bytes);
  }
}

int RecurrentKernel::run(const Context& c) noexcept {
  const auto get = [&](int i) { return operands_.get<float>(i, c.in); };
  Run run{RecurrentRun(r_, c.in_sizes[0], operands_.get<void>(kLengths, c.in), lengths_type_),
          get(kX), get(kW), get(kR), get(kB), get(kH), r_.cell == Cell::lstm ? get(kC) : nullptr,
          r_.cell == Cell::lstm ? get(kP) : nullptr, {}, static_cast<char*>(c.workspace), nullptr, {}, {}, nullptr, nullptr,
          nullptr, nullptr};
  if (run.of.batch == 0) return 0;
  for (size_t i = 0; i < outputs_; ++i) run.out[i] = static_cast<float*>(c.out[i]);
  const auto area = [&](int64_t offset) { return reinterpret_cast<float*>(run.workspace + offset); };
  run.bias = constant_bias_ ? bias_.as<float>() : area(areas_.bias);
  for (int part = 0; part < parts(); ++part) {
    for (int which = 0; which < 2; ++which)
      run.weights[which][part] = packed(which, part) ? packed(which, part)->as<float>() : area(areas_.weights[which][part]);
    run.sums[part] = area(areas_.sums[part]);
  }
  run.more = area(areas_.more);
  run.hidden = area(areas_.hidden);
  run.cell = area(areas_.cell);
  run.reset = area(areas_.reset);

  if (c.team.phase < packs_) {
    pack_values(run, c.team);
    return 0;
  }
  const int64_t first = (c.team.phase - packs_) / 2 * chunk_;
  if (first >= run.of.steps && first > 0) return 0;
  if ((c.team.phase - packs_) % 2 == 0) return project(run, first, c.team);
  steps(run, first, c.team);
  return 0;
}

Ports recurrent_ports(const Problem& p) {
  Ports ports;
  const auto format = [](const Tensor& t) { return Format{t.dtype, layout_of(Layout::nchw, t.shape.size()), "cpu"}; };
  for (int i : p.dynamic()) ports.in.push_back(format(p.in[static_cast<size_t>(i)]));
  for (const Tensor& t : p.out) ports.out.push_back(format(t));
  return preferred(std::move(ports));
}

}  // namespace pw
