// Fast Fourier transforms of one length, in double, real and imaginary parts apart.
// Stockham's autosort form: no reordering of digits, contiguous inner loops. Source: Van Loan, Computational Frameworks for the
// Fast Fourier Transform, section 1.7.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace pw {

// Longer transforms are left to others: tables and scratch memory are several times as large as the values.
constexpr int64_t kMostFourier = int64_t{1} << 24;

// y[k] = sum over j of x[j] exp(-2 pi i j k / n). What is left of n without its factors up to 13 is done as one product by its
// definition.
class Fourier {
 public:
  explicit Fourier(int64_t n) : n_(n), cos_(static_cast<size_t>(n)), sin_(static_cast<size_t>(n)) {
    for (int64_t i = 0; i < n; ++i) {
      const double angle = 2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n);
      cos_[static_cast<size_t>(i)] = std::cos(angle);
      sin_[static_cast<size_t>(i)] = -std::sin(angle);
    }
    int64_t rest = n;
    for (int64_t r : {4, 2, 3, 5, 7, 11, 13})
      for (; rest % r == 0; rest /= r) radix_.push_back(r);
    if (rest > 1) radix_.push_back(rest);
  }

  int64_t length() const { return n_; }
  size_t bytes() const { return 2 * cos_.size() * sizeof(double); }
  // exp(-2 pi i k / n), as (real, imaginary).
  std::pair<double, double> root(int64_t k) const { return {cos_[static_cast<size_t>(k)], sin_[static_cast<size_t>(k)]}; }

  // In place over n numbers each; `scratch` has room for 2 n.
  void run(double* re, double* im, double* scratch) const {
    double *a = re, *b = im, *c = scratch, *d = scratch + n_;
    int64_t length = n_, stride = 1;
    for (int64_t r : radix_) {
      pass(r, length / r, stride, a, b, c, d);
      std::swap(a, c);
      std::swap(b, d);
      length /= r;
      stride *= r;
    }
    if (a != re) {
      std::copy(a, a + n_, re);
      std::copy(b, b + n_, im);
    }
  }

 private:
  // From x to y: for each p below m and q below s, the transform of the r numbers x[q + s (p + m j)], times roots.
  void pass(int64_t r, int64_t m, int64_t s, const double* xr, const double* xi, double* yr, double* yi) const {
    if (r == 2) return pass2(m, s, xr, xi, yr, yi);
    if (r == 4) return pass4(m, s, xr, xi, yr, yi);
    const int64_t step = n_ / r, unit = s;  // exp(-2 pi i / r), and exp(-2 pi i / (r m)) as n = r m s
    for (int64_t p = 0; p < m; ++p)
      for (int64_t k = 0; k < r; ++k) {
        double* outr = yr + s * (r * p + k);
        double* outi = yi + s * (r * p + k);
        std::fill(outr, outr + s, 0.0);
        std::fill(outi, outi + s, 0.0);
        for (int64_t j = 0; j < r; ++j) {
          // The root of the butterfly times that of the pass, one for all numbers of the run.
          const auto [wr, wi] = root((step * (j * k % r) + unit * (p * k % (r * m))) % n_);
          const double* inr = xr + s * (p + m * j);
          const double* ini = xi + s * (p + m * j);
          for (int64_t q = 0; q < s; ++q) {
            outr[q] += inr[q] * wr - ini[q] * wi;
            outi[q] += inr[q] * wi + ini[q] * wr;
          }
        }
      }
  }

  void pass2(int64_t m, int64_t s, const double* xr, const double* xi, double* yr, double* yi) const {
    for (int64_t p = 0; p < m; ++p) {
      const auto [wr, wi] = root(s * p);
      const double *ar = xr + s * p, *ai = xi + s * p, *br = ar + s * m, *bi = ai + s * m;
      double *cr = yr + s * 2 * p, *ci = yi + s * 2 * p, *dr = cr + s, *di = ci + s;
      for (int64_t q = 0; q < s; ++q) {
        const double r = ar[q] - br[q], i = ai[q] - bi[q];
        cr[q] = ar[q] + br[q];
        ci[q] = ai[q] + bi[q];
        dr[q] = r * wr - i * wi;
        di[q] = r * wi + i * wr;
      }
    }
  }

  void pass4(int64_t m, int64_t s, const double* xr, const double* xi, double* yr, double* yi) const {
    const int64_t far = s * m;
    for (int64_t p = 0; p < m; ++p) {
      const auto [w1r, w1i] = root(s * p);
      const auto [w2r, w2i] = root(2 * s * p);
      const auto [w3r, w3i] = root(3 * s * p);
      const double *ar = xr + s * p, *ai = xi + s * p;
      double *cr = yr + s * 4 * p, *ci = yi + s * 4 * p;
      for (int64_t q = 0; q < s; ++q) {
        const double sr = ar[q] + ar[q + 2 * far], si = ai[q] + ai[q + 2 * far];
        const double tr = ar[q] - ar[q + 2 * far], ti = ai[q] - ai[q + 2 * far];
        const double ur = ar[q + far] + ar[q + 3 * far], ui = ai[q + far] + ai[q + 3 * far];
        const double vr = ai[q + far] - ai[q + 3 * far], vi = ar[q + 3 * far] - ar[q + far];  // -i (b - d)
        cr[q] = sr + ur;
        ci[q] = si + ui;
        const double er = tr + vr, ei = ti + vi, fr = sr - ur, fi = si - ui, gr = tr - vr, gi = ti - vi;
        cr[q + s] = er * w1r - ei * w1i;
        ci[q + s] = er * w1i + ei * w1r;
        cr[q + 2 * s] = fr * w2r - fi * w2i;
        ci[q + 2 * s] = fr * w2i + fi * w2r;
        cr[q + 3 * s] = gr * w3r - gi * w3i;
        ci[q + 3 * s] = gr * w3i + gi * w3r;
      }
    }
  }

  int64_t n_;
  std::vector<double> cos_, sin_;  // exp(-2 pi i k / n)
  std::vector<int64_t> radix_;
};

// The transform of n real numbers: of even n as one of n / 2 complex numbers. Gives the first n / 2 + 1 values.
class RealFourier {
 public:
  explicit RealFourier(int64_t n) : n_(n), half_(n % 2 == 0 ? n / 2 : n), roots_(n % 2 == 0 ? n : 1) {}
  int64_t length() const { return n_; }
  size_t bytes() const { return half_.bytes() + roots_.bytes(); }
  // Doubles of scratch memory that `run` takes.
  static int64_t scratch(int64_t n) { return 4 * n + 4; }

  // `x`: n numbers; `re`, `im`: room for n / 2 + 1.
  void run(const double* x, double* re, double* im, double* scratch) const {
    double *a = scratch, *b = scratch + n_ + 1, *rest = b + n_ + 1;
    if (n_ % 2 != 0) {
      std::copy(x, x + n_, a);
      std::fill(b, b + n_, 0.0);
      half_.run(a, b, rest);
      std::copy(a, a + n_ / 2 + 1, re);
      std::copy(b, b + n_ / 2 + 1, im);
      return;
    }
    const int64_t h = n_ / 2;
    for (int64_t i = 0; i < h; ++i) {
      a[i] = x[2 * i];
      b[i] = x[2 * i + 1];
    }
    half_.run(a, b, rest);
    a[h] = a[0];
    b[h] = b[0];
    for (int64_t k = 0; k <= h; ++k) {
      // Even numbers in the half that is its own conjugate mirrored, odd ones in the other, turned by a root.
      const double er = 0.5 * (a[k] + a[h - k]), ei = 0.5 * (b[k] - b[h - k]);
      const double odd_r = 0.5 * (b[k] + b[h - k]), odd_i = -0.5 * (a[k] - a[h - k]);
      const auto [wr, wi] = roots_.root(k);
      re[k] = er + odd_r * wr - odd_i * wi;
      im[k] = ei + odd_r * wi + odd_i * wr;
    }
  }

 private:
  int64_t n_;
  Fourier half_, roots_;
};

}  // namespace pw
