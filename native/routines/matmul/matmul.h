// Shapes of a matmul problem, by the rules of numpy.matmul, and the conditions that all its routines share.
#pragma once
#include <algorithm>
#include <vector>

#include "routines/matrix.h"

namespace pw {

// y[n] = a[a_index[n]] * b[b_index[n]], all matrices row-major and one behind the other.
struct MatmulShape {
  int64_t rows, depth, columns;
  int64_t a_matrices, b_matrices;
  std::vector<int64_t> a_index, b_index;  // per matrix of the result

  int64_t batch() const { return static_cast<int64_t>(a_index.size()); }

  // One b for all: the matrices of a, one behind the other, are the rows of a single product.
  void join_rows() {
    if (b_matrices != 1 || a_matrices != batch()) return;
    rows *= batch();
    a_matrices = 1;
    a_index = b_index = {0};
  }

  explicit MatmulShape(const Problem& p) {
    Dims a = p.in[0].shape, b = p.in[1].shape;
    if (a.size() == 1) a.insert(a.begin(), 1);
    if (b.size() == 1) b.push_back(1);
    rows = a[a.size() - 2], depth = a.back(), columns = b.back();
    a.resize(a.size() - 2), b.resize(b.size() - 2);
    a_matrices = count(a), b_matrices = count(b);
    const size_t rank = std::max(a.size(), b.size());
    a.insert(a.begin(), rank - a.size(), 1);
    b.insert(b.begin(), rank - b.size(), 1);
    a_index = b_index = {0};
    for (size_t axis = 0; axis < rank; ++axis) {
      spread(a_index, a[axis], std::max(a[axis], b[axis]));
      spread(b_index, b[axis], std::max(a[axis], b[axis]));
    }
  }

 private:
  // Appends an axis of length `all` to the indices; where `own` is 1 it is broadcast.
  static void spread(std::vector<int64_t>& index, int64_t own, int64_t all) {
    std::vector<int64_t> wider;
    for (int64_t base : index)
      for (int64_t i = 0; i < all; ++i) wider.push_back(base * own + (own == 1 ? 0 : i));
    index = std::move(wider);
  }
};

inline Verdict accepts_matmul(const Problem& p) {
  if (p.arity() != 2 || p.in[0].shape.empty() || p.in[1].shape.empty())
    return Verdict::no("a and b are not two arrays");
  if (p.in[0].dtype != DType::f32 || p.in[1].dtype != DType::f32) return Verdict::no("a or b is not f32");
  if (p.in[0].constant && p.in[1].constant) return Verdict::no("a and b are both constant");
  if (p.epilogue.add && p.in.back().constant) return Verdict::no("the residual is a constant");
  if (p.in[0].count() == 0 || p.in[1].count() == 0) return Verdict::no("a tensor is empty");
  if (!epilogue_activation(p)) return Verdict::no("activation " + p.epilogue.act + " is not in the micro-kernels");
  return Verdict::ok();
}

}  // namespace pw
