// Shapes of a matmul problem, by the rules of numpy.matmul, and the conditions that all its routines share.
#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include "products/matrix.h"

namespace pw {

constexpr size_t kMostMatmulRank = 10;

// How many matrices of which size; for `accepts`, as nothing is made.
struct MatmulSizes {
  int64_t rows, depth, columns;
  int64_t a_matrices, b_matrices;
  Dims a_axes, b_axes, axes;  // of the matrices: of a, of b and of the result, of one rank

  explicit MatmulSizes(const Problem& p) : a_axes(p.in[0].shape), b_axes(p.in[1].shape) {
    if (a_axes.size() == 1) a_axes.insert(a_axes.begin(), 1);
    if (b_axes.size() == 1) b_axes.push_back(1);
    rows = a_axes[a_axes.size() - 2], depth = a_axes.back(), columns = b_axes.back();
    a_axes.resize(a_axes.size() - 2), b_axes.resize(b_axes.size() - 2);
    a_matrices = count(a_axes), b_matrices = count(b_axes);
    const size_t rank = std::max(a_axes.size(), b_axes.size());
    a_axes.insert(a_axes.begin(), rank - a_axes.size(), 1);
    b_axes.insert(b_axes.begin(), rank - b_axes.size(), 1);
    for (size_t i = 0; i < rank; ++i) axes.push_back(std::max(a_axes[i], b_axes[i]));
  }
  int64_t batch() const { return count(axes); }
  // One b for all: the matrices of a, one behind the other, are the rows of a single product.
  bool joins_rows() const { return b_matrices == 1 && a_matrices == batch(); }
};

// The same of one run, by the sizes in its context, without taking memory: which matrices belong to a result is computed.
class MatmulRun {
 public:
  int64_t rows, depth, columns, batch = 1, a_matrices = 1, b_matrices = 1;

  // a, b: sizes and ranks of the operands; of rank kMostMatmulRank and less.
  MatmulRun(const int64_t* a, size_t a_rank, const int64_t* b, size_t b_rank) {
    rows = a_rank > 1 ? a[a_rank - 2] : 1;
    depth = a[a_rank - 1];
    columns = b_rank > 1 ? b[b_rank - 1] : 1;
    const size_t a_axes = a_rank > 2 ? a_rank - 2 : 0, b_axes = b_rank > 2 ? b_rank - 2 : 0;
    axes_ = std::max(a_axes, b_axes);
    for (size_t i = axes_; i-- > 0;) {  // from the innermost axis of the matrices on
      const size_t back = axes_ - i;
      const int64_t own_a = back <= a_axes ? a[a_axes - back] : 1, own_b = back <= b_axes ? b[b_axes - back] : 1;
      axis_[i] = {std::max(own_a, own_b), own_a == 1 ? 0 : a_matrices, own_b == 1 ? 0 : b_matrices};
      batch *= axis_[i].size;
      a_matrices *= own_a;
      b_matrices *= own_b;
    }
    // One b for all: the matrices of a, one behind the other, are the rows of a single product.
    if (b_matrices == 1 && a_matrices == batch) {
      rows *= batch;
      a_matrices = batch = 1;
      axes_ = 0;
    }
  }
  // Matrices of a and b that make result n.
  std::pair<int64_t, int64_t> operands(int64_t n) const {
    int64_t a = 0, b = 0;
    for (size_t i = axes_; i-- > 0; n /= axis_[i].size) {
      const int64_t at = n % axis_[i].size;
      a += at * axis_[i].a;
      b += at * axis_[i].b;
    }
    return {a, b};
  }

 private:
  struct Axis {
    int64_t size, a, b;
  };
  size_t axes_ = 0;
  Axis axis_[kMostMatmulRank - 2];
};

// y[n] = a[a_index[n]] * b[b_index[n]], all matrices row-major and one behind the other.
struct MatmulShape : MatmulSizes {
  std::vector<int64_t> a_index{0}, b_index{0};  // per matrix of the result

  int64_t batch() const { return static_cast<int64_t>(a_index.size()); }

  void join_rows() {
    if (!joins_rows()) return;
    rows *= batch();
    a_matrices = 1;
    a_index = b_index = {0};
  }

  explicit MatmulShape(const Problem& p) : MatmulSizes(p) {
    for (size_t i = 0; i < axes.size(); ++i) {
      spread(a_index, a_axes[i], axes[i]);
      spread(b_index, b_axes[i], axes[i]);
    }
  }

 private:
  // Appends an axis of length `all` to the indices; where `own` is 1 it is broadcast.
  static void spread(std::vector<int64_t>& index, int64_t own, int64_t all) {
    std::vector<int64_t> wider;
    wider.reserve(index.size() * static_cast<size_t>(all));
    for (int64_t base : index)
      for (int64_t i = 0; i < all; ++i) wider.push_back(base * own + (own == 1 ? 0 : i));
    index = std::move(wider);
  }
};

// `applying`: kind of the micro-kernels that apply the epilogue.
inline Verdict accepts_matmul(const Problem& p, const std::string& applying = PW_KIND_GEMM_F32) {
  if (p.arity() != 2 || p.in[0].shape.empty() || p.in[1].shape.empty())
    return Verdict::no("a and b are not two arrays");
  if (p.in[0].dtype != DType::f32 || p.in[1].dtype != DType::f32) return Verdict::no("a or b is not f32");
  if (p.in[0].constant && p.in[1].constant) return Verdict::no("a and b are both constant");
  if (p.epilogue.add && p.in.back().constant) return Verdict::no("the residual is a constant");
  if (p.in[0].count() == 0 || p.in[1].count() == 0) return Verdict::no("a tensor is empty");
  if (std::max(p.in[0].shape.size(), p.in[1].shape.size()) > kMostMatmulRank)
    return Verdict::no("the rank is more than " + std::to_string(kMostMatmulRank));
  return applies(applying, p.epilogue);
}

}  // namespace pw
