// Normalisation: statistics of rows and of columns of floats, and elements brought to mean 0 and deviation 1 with them.
#pragma once
#include <cstdint>

namespace pw {

// What is summed: squared differences from the mean, squares, or sizes |x|.
enum class Moment : int32_t { centred, squares, sizes };

// y[i] = (x[i] - high - low) * factor, times scale[i] where it is there, plus bias[i], or plus `shift` where bias is not there.
// The mean is high + low, so that a large one costs no digits. Then y is clamped to [least, most]. y may be x.
struct NormRow {
  const float* x;
  float* y;
  int64_t n;
  float high, low, factor, shift;
  const float *scale, *bias;
  float least, most;
};

// y[r, c] = (x[r, c] - high[c] - low[c]) * factor[c], plus shift[c] where that is there; else times scale[r] and plus bias[r],
// where they are there. `columns` of a row lie side by side, `step` is from one row to the next, in x and in y. Clamped as
// above; y may be x.
struct NormColumns {
  const float* x;
  float* y;
  int64_t rows, columns, step;
  const float *high, *low, *factor, *shift;
  const float *scale, *bias;
  float least, most;
};

struct NormF32 {
  // Of n >= 1 contiguous floats: the mean, 0 unless centred, and the sum. Blocks are added up in double; the sum about the mean
  // is that of a second pass, with what the mean was off taken out.
  void (*moments)(Moment what, const float* x, int64_t n, double* mean, double* sum);
  void (*row)(const NormRow* args);
  // The same of each column of a matrix of 1 <= rows <= kNormRows, in f32: the mean is mean[c] + rest[c].
  void (*column_moments)(Moment what, const float* x, int64_t rows, int64_t columns, int64_t step, float* mean, float* rest,
                         float* sum);
  void (*columns)(const NormColumns* args);
};
#define PW_KIND_NORM_F32 "norm_f32"
constexpr int64_t kNormRows = 128;

// Local response normalisation across channels, for n pixels that lie side by side: y = x / (bias + alpha * sum x^2)^beta, the
// sum over the channels from `first` to `last`, both among those of x. `step`: from one channel to the next. y is not x.
struct LrnArgs {
  const float* x;  // the channel that is computed
  float* y;
  int64_t n, step, first, last;  // channels relative to it: first <= 0 <= last
  float alpha, beta, bias;
};
struct LrnF32 {
  void (*run)(const LrnArgs* args);
};
#define PW_KIND_LRN_F32 "lrn_f32"

}  // namespace pw
