// Winograd's variant of Strassen's product: seven products of half the size instead of eight, once or twice over.
//
//   S1 = A21 + A22   S2 = S1 - A11   S3 = A11 - A21   S4 = A12 - S2
//   T1 = B12 - B11   T2 = B22 - T1   T3 = B22 - B12   T4 = T2 - B21
//   P1 = A11 B11   P2 = A12 B21   P3 = S4 B22   P4 = A22 T4   P5 = S1 T1   P6 = S2 T2   P7 = S3 T3
//   C11 = P1 + P2   U = P1 + P6   C12 = U + P5 + P3   C21 = U + P7 - P4   C22 = U + P7 + P5
//
// (S. Winograd 1971; Douglas et al. 1994 give this order.) The sums of B are made while it is packed, those of the
// products, but for one, in the store of a product. Odd sizes: the second halves are smaller, and count as if zeros
// followed.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "products/matrix.h"
#include "spi/estimate.h"

namespace pw {

// C = act(A * B + bias), A rows x depth (row-major), B depth x columns, C rows x columns (row-major).
struct StrassenProblem {
  int64_t rows, depth, columns;
  // B: element (k, n) lies at k * b_depth + n * b_column.
  int64_t b_depth, b_column;
  Constant b;          // contents when they are constant
  const float* bias;   // may be null
  ActArgs act;
  int threads;
};

// VARIANT = level1/MICRO-KERNEL, level2/MICRO-KERNEL: those whose halves are not too small to be tiles.
std::vector<std::string> strassen_variants(int64_t rows, int64_t depth, int64_t columns, Act act);

// ok when the sizes can be split, and the sums are short enough for accuracy class f32.
Verdict accepts_strassen(const Problem& p, int64_t rows, int64_t depth, int64_t columns);

// What it does, with B known when it is prepared or not.
Estimate strassen_estimate(const Problem& p, int64_t rows, int64_t depth, int64_t columns, const std::string& variant);

class StrassenProduct {
 public:
  StrassenProduct(const StrassenProblem& p, const std::string& variant);
  size_t workspace_bytes() const;
  size_t packed_bytes() const { return packed_ ? packed_->bytes() : 0; }
  // Called by every thread of the team; `b` where it is no constant.
  void run(const float* a, const float* b, float* c, void* workspace, Team& team) const;

 private:
  // A part of B that a product multiplies with this sign; nothing at and behind the ends.
  struct Term {
    int64_t row, column, row_end, column_end;
    float sign;
  };
  // A product: at level 0 a leaf, whose B is the sum of `terms`; else seven of them.
  struct Node {
    int64_t rows, depth, columns;
    int64_t rows1 = 0, depth1 = 0, columns1 = 0;  // of the first halves
    std::vector<Term> terms;
    std::vector<Node> parts;
    int64_t packed = 0;  // where a leaf's panels begin, in floats
    Product product{};
  };
  struct View {
    const float* data;
    int64_t row;
  };
  struct Scratch {
    float* floats;           // sums and products of the next levels
    const float* panels;     // of packed B
    const float** pointers;  // of this thread
  };
  // What happens to a result besides being stored: `accumulate`: added to what C holds. `residual`: added, lies as C.
  struct Store {
    bool accumulate;
    const float* residual;
    const float* bias;
    ActArgs act;
  };

  void build(Node& node, int level);
  int64_t scratch_floats(const Node& node) const;
  void pack(const float* b, float* to, Team& team) const;
  void pack_leaf(const Node& leaf, const float* b, int64_t panel, int64_t first, int64_t last, float* to) const;
  void multiply(const Node& node, View a, float* c, const Store& store, Scratch scratch, Team& team) const;
  void leaf(const Node& node, View a, float* c, const Store& store, const Scratch& scratch, Team& team) const;
  void sums(const Node& node, View a, float* s, Team& team) const;
  void combine(const Node& node, float* u, const float* p5, const float* u3, float* c22, const Store& store,
               Team& team) const;
  void start(const Node& node, const Store& store, float* c, Team& team) const;

  StrassenProblem p_;
  const GemmF32* kernel_;
  const ActivationF32* activation_;
  Node root_;
  std::vector<const Node*> leaves_;
  int64_t packed_floats_ = 0;
  std::shared_ptr<const Buffer> packed_;
  Buffer bias_, no_bias_;
  const float* zeros_ = nullptr;
};

// Rows of x that lie one after another, times constant weights.
class StrassenKernel : public Kernel {
 public:
  StrassenKernel(const StrassenProblem& p, const std::string& variant) : product_(p, variant) {}
  size_t workspace_bytes() const override { return product_.workspace_bytes(); }
  size_t packed_bytes() const override { return product_.packed_bytes(); }
  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    product_.run(static_cast<const float*>(in[0]), nullptr, static_cast<float*>(out[0]), workspace, team);
  }

 private:
  StrassenProduct product_;
};

}  // namespace pw
