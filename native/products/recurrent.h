// The kernel of rnn, gru and lstm in f32: the products of the inputs of many steps at once, then step by step the products of
// the hidden states, whose weights are packed too, and the cells. Each thread keeps its share of the hidden units through all
// steps, and so its weights in its caches.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/lockstep.h"
#include "products/matrix.h"
#include "spi/estimate.h"
#include "ukernels/kinds/recurrent_f32.h"
#include "values/operands.h"
#include "values/recurrent.h"

namespace pw {

// The activations of the gates, for micro-kernels of kind recurrent_f32; nothing where none applies one of them.
std::optional<std::vector<GateAct>> gate_acts(const Recurrence& r, bool clips_last = true);

// Gates whose sums belong to one product. Columns of a product lie in blocks of hidden units, in a block gate by gate.
struct GatePart {
  int64_t first, gates;  // of those of the weights
};

class RecurrentKernel : public Kernel {
 public:
  RecurrentKernel(const Problem& p, const std::string& variant, const Constants& constants);

  // Why there is none for a problem that `accepts_recurrent` accepts.
  static Verdict accepts(const Problem& p);

  size_t workspace_bytes() const override { return static_cast<size_t>(areas_.total); }
  size_t packed_bytes() const override;
  int64_t phases() const override { return packs_ + 2 * chunks_; }
  bool open(size_t port, size_t axis) const override;
  Memory reads_first(int64_t phase, uint32_t index, uint32_t count) const override;
  int run(const Context& context) noexcept override;

 private:
  struct Run;
  // How steps are shared out: the directions by themselves, one behind the other (`turns` 2) or together, each to so many shares.
  struct Roles {
    int64_t groups, shares, turns;
    int64_t count() const { return groups * shares; }
  };
  // Offsets in the workspace, in bytes.
  struct Areas {
    int64_t pointers, shares, bias, sums[2], more, hidden, cell, reset, weights[2][2], total;
  };

  // For a team of so many threads.
  Roles roles(int64_t threads, int64_t batch) const;
  // `group`: or turn.
  int64_t first_piece(const Roles& roles, int64_t group, int64_t share) const {
    const int64_t all = r_.directions * pieces() / (roles.groups * roles.turns);
    return group * all + share * all / roles.shares;
  }
  LockstepShare* shares(const Run& run, int64_t group) const;
  void plan(const Problem& p);
  int64_t parts() const { return static_cast<int64_t>(parts_.size()); }
  int64_t units() const { return blocks_ * kUnits; }
  int64_t pieces() const { return blocks_ / piece_blocks_; }  // of one direction
  int64_t columns(int part) const { return parts_[static_cast<size_t>(part)].gates * units(); }
  int64_t panels(int part) const { return columns(part) / kernel_.columns; }
  int64_t depth(int which) const { return which ? r_.hidden : r_.features; }
  int64_t panel_floats(int which) const { return kernel_.columns * depth(which); }
  int64_t piece_columns(int part) const { return piece_blocks_ * parts_[static_cast<size_t>(part)].gates * kUnits; }
  const Buffer* packed(int which, int part) const {
    return packed_[static_cast<size_t>(which)][static_cast<size_t>(part)].get();
  }
  // Floats of the biases of a direction: of the sums of x, of those of h, and the peepholes.
  int64_t bias_floats() const { return 11 * units(); }
  void pack(const float* weights, int which, int part, float* to, int64_t first, int64_t last) const noexcept;
  void pack_biases(const float* b, const float* p, float* to) const noexcept;

  void pack_values(const Run& run, Team& team) const noexcept;
  void start(const Run& run) const noexcept;
  int project(const Run& run, int64_t first, Team& team) const noexcept;
  void steps(const Run& run, int64_t first, Team& team) const noexcept;
  // Of step `s`, whose sums of x are the `row`-th of those that are kept; pieces [from, to) of a direction.
  struct Stretch {
    int64_t s, row, d;
    int part;
    int64_t from, to;
    bool alone;  // the sums of x are made here
  };
  void stretch(const Run& run, Stretch at, const float** pointers) const noexcept;
  void multiply(const Run& run, const Stretch& at, const float* from, float* sums, const float* bias,
                const float** pointers) const noexcept;
  void multiply_row(const float* x, int which, const Run& run, const Stretch& at, float* sums) const noexcept;
  void cells(const Run& run, const Stretch& at) const noexcept;
  void hand_out(const Run& run, const Stretch& at) const noexcept;
  float* sums_of(const Run& run, const Stretch& at, int part) const noexcept;

  Recurrence r_;
  const GemmF32& kernel_;
  const RecurrentF32& cell_kernel_;
  Operands operands_;
  std::vector<GateAct> acts_;
  std::vector<GatePart> parts_;
  std::vector<int> dynamic_;
  int64_t blocks_ = 0;        // of kUnits hidden units each, padded to whole pieces
  int64_t piece_blocks_ = 0;  // as many as make the columns of every part whole panels
  int64_t chunk_ = 1;         // steps whose sums of x are kept at once
  int64_t chunks_ = 1;
  int64_t most_batch_ = 1;
  bool packs_ = false;        // weights or biases are values, packed in the first phase
  bool batch_open_ = true;
  int threads_;
  Patience patience_;
  int processors_;
  size_t outputs_;
  DType lengths_type_ = DType::i32;
  std::array<std::array<std::shared_ptr<const Buffer>, 2>, 2> packed_;  // of w and r, of each part; null: it is a value
  Buffer bias_;
  bool constant_bias_ = true;
  Areas areas_{};
};

// Ports of a routine whose values lie as the layer has them, each in its type.
Ports recurrent_ports(const Problem& p);

// The routine of one of these layer kinds.
class RecurrentRoutine : public Routine, public Estimating {
 public:
  explicit RecurrentRoutine(const std::string& layer)
      : Routine({.id = layer + "/packed:f32:plain:cpu", .version = 4, .accuracy = Accuracy::f32}) {}
  Verdict accepts(const Problem& p) const override { return RecurrentKernel::accepts(p); }
  std::vector<std::string> variants(const Problem&) const override { return gemm_variants(Layout::plain); }
  Ports ports(const Problem& p) const override { return recurrent_ports(p); }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.5);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<RecurrentKernel>(p, variant, constants);
  }
};

}  // namespace pw
