// The gradient of a convolution to an input of few channels, for which oneDNN computes sixteen.
//
//   x[p, c] = sum over taps t and channels o of y[(p + low - t * dilation) / stride, o] k[t, c, o]
//
// over the taps at which the quotient is whole. Along the last axis the voxels of one phase, those
// that lie a stride apart, read the same taps at neighbouring places of y. So a few neighbours are
// computed at once: vectors run over the output channels, which are contiguous, each of y serves
// all channels and each of the kernel all neighbours, and only the last sum is across a vector.
//
// Every number is summed by itself, in an order that the number of threads does not change.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "parallel.h"

namespace jaxmed {
namespace {

// Multiplications of a task.
constexpr int64_t kWork = 4'000'000;

// One tap of the window: the line of y under it and its kernel (channels, channels_out).
struct Tap {
  const float* line;
  const float* kernel;
  int64_t shift;  // voxel i of the phase reads place i + shift of the line
};

// The voxels of one phase along a line of x.
struct Row {
  std::vector<Tap> list;
  const Tap* tap;
  int64_t taps;
  int64_t channels, channels_out;
  int64_t length;      // of a line of y
  int64_t count;       // of voxels
  float* to;           // the first, and numbers from one to the next
  int64_t step;
  const float* zeros;  // what lies outside of y
};

#define TARGET
#define FLOATS 4
#define ACCUMULATORS 12
namespace sse {
#include "few_channels_tile.h"
}
#undef TARGET
#undef FLOATS
#define TARGET __attribute__((target("avx2,fma")))
#define FLOATS 8
namespace avx2 {
#include "few_channels_tile.h"
}
#undef TARGET
#undef FLOATS
#undef ACCUMULATORS
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define FLOATS 16
#define ACCUMULATORS 24
namespace avx512 {
#include "few_channels_tile.h"
}
#undef TARGET
#undef FLOATS
#undef ACCUMULATORS

using SumRow = void (*)(const Row&);

SumRow fastest() {
  __builtin_cpu_init();
  const bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return avx512::sum_row;
  return fma ? avx2::sum_row : sse::sum_row;
}

// One axis of the convolution. Axes that are missing have one voxel and one tap.
struct Axis {
  int64_t size = 1, window = 1, stride = 1, low = 0, dilation = 1, output = 1;

  // The place of y that voxel i reads under a tap, or -1.
  int64_t place(int64_t i, int64_t tap) const {
    const int64_t at = i + low - tap * dilation;
    return at >= 0 && at % stride == 0 && at / stride < output ? at / stride : -1;
  }
};

constexpr int kAxes = 3;

struct Problem {
  Axis axis[kAxes];
  int64_t channels, channels_out;

  int64_t lines() const { return axis[0].size * axis[1].size; }
  int64_t line() const { return axis[2].size * channels; }
  int64_t image() const { return lines() * line(); }
  int64_t cotangent() const {
    return axis[0].output * axis[1].output * axis[2].output * channels_out;
  }
  int64_t taps() const { return axis[0].window * axis[1].window * axis[2].window; }
};

// Computes line `line` of an image x from the image y.
void compute(const Problem& p, SumRow sum, Row& row, const float* y, const float* kernel, float* x,
             int64_t line) {
  const Axis &a = p.axis[0], &b = p.axis[1], &last = p.axis[2];
  const int64_t i = line / b.size, j = line % b.size;
  const int64_t numbers = p.channels * p.channels_out;
  for (int64_t phase = 0; phase < std::min(last.stride, last.size); ++phase) {
    row.list.clear();
    for (int64_t s = 0; s < a.window; ++s) {
      const int64_t u = a.place(i, s);
      if (u < 0) continue;
      for (int64_t t = 0; t < b.window; ++t) {
        const int64_t v = b.place(j, t);
        if (v < 0) continue;
        const float* from = y + (u * b.output + v) * last.output * p.channels_out;
        for (int64_t r = 0; r < last.window; ++r) {
          const int64_t at = phase + last.low - r * last.dilation;
          if (at % last.stride) continue;
          const int64_t tap = (s * b.window + t) * last.window + r;
          row.list.push_back({from, kernel + tap * numbers, at / last.stride});
        }
      }
    }
    row.tap = row.list.data();
    row.taps = static_cast<int64_t>(row.list.size());
    row.count = (last.size - phase + last.stride - 1) / last.stride;
    row.step = last.stride * p.channels;
    row.to = x + line * p.line() + phase * p.channels;
    sum(row);
  }
}

using Floats = ffi::Buffer<ffi::F32>;
using List = ffi::Span<const int64_t>;

ffi::Error few_channels(ffi::ThreadPool pool, Floats y, Floats kernel, ffi::Result<Floats> x,
                        int64_t members, bool y_stacked, bool kernel_stacked, List spatial,
                        List window, List strides, List low, List dilation, List output) {
  const int64_t rank = static_cast<int64_t>(spatial.size());
  Problem p;
  p.channels = x->dimensions().back();
  p.channels_out = y.dimensions().back();
  if (rank < 1 || rank > kAxes || p.channels_out % 4)
    return ffi::Error(ffi::ErrorCode::kInvalidArgument,
                      "1 to 3 spatial axes, output channels a multiple of 4");
  for (int64_t k = 0; k < rank; ++k)
    p.axis[kAxes - rank + k] = {spatial[k], window[k], strides[k], low[k], dilation[k], output[k]};
  try {
    static const SumRow sum = fastest();
    const int64_t images = x->dimensions()[members > 0 ? 1 : 0];
    const int64_t kernel_size = p.taps() * p.channels * p.channels_out;
    const int64_t work = std::max<int64_t>(1, p.line() * p.channels_out * p.taps());
    const int64_t lines = std::min(p.lines(), (kWork + work - 1) / work);  // of a task
    const int64_t parts = (p.lines() + lines - 1) / lines;
    const std::vector<float> zeros(p.channels_out);
    parallel(pool, width_of(pool), std::max<int64_t>(1, members) * images * parts, [&](int64_t n) {
      const int64_t image = n / parts, member = image / images;
      const int64_t first = n % parts * lines;
      Row row;
      row.channels = p.channels;
      row.channels_out = p.channels_out;
      row.length = p.axis[kAxes - 1].output;
      row.zeros = zeros.data();
      for (int64_t line = first; line < std::min(first + lines, p.lines()); ++line)
        compute(p, sum, row,
                y.typed_data() + (y_stacked ? image : image % images) * p.cotangent(),
                kernel.typed_data() + (kernel_stacked ? member : 0) * kernel_size,
                x->typed_data() + image * p.image(), line);
    });
    return ffi::Error::Success();
  } catch (const std::exception& e) {
    return ffi::Error(ffi::ErrorCode::kInternal,
                      std::string("native gradient to few channels failed: ") + e.what());
  }
}

}  // namespace
}  // namespace jaxmed

using xla::ffi::Span;

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedFewChannels, jaxmed::few_channels,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Attr<int64_t>("members")
                                  .Attr<bool>("y_stacked")
                                  .Attr<bool>("kernel_stacked")
                                  .Attr<Span<const int64_t>>("spatial")
                                  .Attr<Span<const int64_t>>("window")
                                  .Attr<Span<const int64_t>>("strides")
                                  .Attr<Span<const int64_t>>("low")
                                  .Attr<Span<const int64_t>>("dilation")
                                  .Attr<Span<const int64_t>>("output"));
