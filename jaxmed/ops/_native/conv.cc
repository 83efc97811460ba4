// Convolution and its two gradients over oneDNN, as XLA FFI handlers.
//
// Activations are channels-last and dense; kernels are (*window, in / groups, out). oneDNN
// chooses its own layout for kernels, so they are reordered on the way in (or out, for the
// gradient to the kernel). What was built for a shape is kept: a `Plan`.
//
// The forward pass may add a bias and apply a (leaky) ReLU on the way out, and the gradient
// to the kernel may bring the gradient to the bias with it.
//
// Threads: the images of the batch are shared among the threads of XLA's own pool, each
// running oneDNN on itself alone, so no second pool competes with XLA's. Only where there
// are too few images does oneDNN's OpenMP team run, as wide as XLA's pool.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "kept.h"
#include "plan.h"

namespace jaxmed {
namespace {

// Multiplications below which a piece is not worth its own call.
constexpr int64_t kWorkOfPiece = 4'000'000;
// And below which waking an OpenMP team costs more than it gives.
constexpr int64_t kWorkOfTeam = 20'000'000;

uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float from_bfloat16(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

// x where x >= 0, else slope * x, with NaN left as it is: oneDNN's own makes zeros of it, and
// what should stop a training would not.
void rectify(char* values, int64_t n, bool bfloat16, float slope) {
  if (bfloat16) {
    auto* v = reinterpret_cast<uint16_t*>(values);
    for (int64_t i = 0; i < n; ++i) {
      const bool negative = v[i] > 0x8000 && v[i] <= 0xff80;
      if (slope == 0)
        v[i] = negative ? 0 : v[i];
      else
        v[i] = negative ? to_bfloat16(slope * from_bfloat16(v[i])) : v[i];
    }
  } else {
    auto* v = reinterpret_cast<float*>(values);
    if (slope == 0)  // not a product: zero times minus infinity is no number
      for (int64_t i = 0; i < n; ++i) v[i] = v[i] < 0 ? 0 : v[i];
    else
      for (int64_t i = 0; i < n; ++i) v[i] = v[i] < 0 ? slope * v[i] : v[i];
  }
}

// The whole call: `members` convolutions of one shape, each split over its images.
void run(ffi::ThreadPool& pool, int64_t threads, const Shape& whole, int64_t members,
         const bool stacked[3], char* input, char* kernel, char* bias, char* output) {
  const int64_t size = whole.bfloat16 ? 2 : 4;
  const bool to_kernel = whole.kind == kKernel;
  // Split by images where that keeps the threads evenly busy; else one piece, OpenMP inside.
  // More pieces than threads, so that a thread held up by other work does not hold up all;
  // but one each for the gradient to the kernel, where every piece costs a partial sum.
  int64_t pieces = threads;
  const int64_t work = whole.output_size() * (whole.kernel_size() / whole.channels_out);
  if (!to_kernel && threads > 1) {
    // A ReLU follows while the piece is in the cache: the more pieces, the more of it is.
    pieces = std::clamp(work / kWorkOfPiece, threads, (whole.activate ? 64 : 4) * threads);
  }
  pieces = std::min(pieces, whole.batch);
  const int64_t most = (whole.batch + threads - 1) / threads;
  int team = 1;
  if (work > kWorkOfTeam && members < threads && whole.batch * 10 < most * threads * 8) {
    pieces = 1;
    team = static_cast<int>(threads);
  }
  const int64_t small = whole.batch / pieces, larger = whole.batch % pieces;
  Shape part = whole;
  part.batch = small + (larger ? 1 : 0);
  const auto first = plan_for(part, team, nullptr);
  auto second = first;
  if (larger) {
    part.batch = small;
    second = plan_for(part, team, &first->kernel);
  }
  const int64_t input_size = whole.input_size() * size;
  const int64_t output_size = whole.output_size() * size;
  const int64_t kernel_size = whole.kernel_size() * size;
  const size_t kernel_part = (first->kernel.get_size() + 63) / 64 * 64;
  const size_t bias_part =
      to_kernel && whole.bias ? (whole.channels_out * sizeof(float) + 63) / 64 * 64 : 0;
  const size_t blocked = kernel_part + bias_part;
  const int64_t kernels = stacked[2] ? members : 1;

  // Kernels in oneDNN's layout, or partial gradients in it.
  thread_local Scratch buffer;
  char* prepared = nullptr;
  const bool direct = to_kernel ? (pieces == 1 && !first->reordered) : !first->reordered;
  std::shared_ptr<Kept> kept;
  if (!to_kernel && !direct && kernels == 1)
    kept = KeptKernels::instance().find(pool, threads, *first, kernel, kernel_size);
  if (kept)
    prepared = kept->packed.data();
  else if (!direct)
    prepared = buffer.get(blocked * (to_kernel ? members * pieces : kernels));
  if (!to_kernel && !direct && !kept) {
    parallel(pool, threads, kernels, [&](int64_t m) {
      run_reorder(*first, kernel + m * kernel_size, prepared + m * blocked, false);
    });
  }
  const int64_t workers = team > 1 ? 1 : threads;
  parallel(pool, workers, members * pieces, [&](int64_t task) {
    const int64_t m = task / pieces, p = task % pieces;
    const int64_t start = p * small + std::min(p, larger);
    const Plan& plan = p < larger || !larger ? *first : *second;
    char* x = input + (stacked[0] ? m * input_size : 0) + start * (input_size / whole.batch);
    char* y = output + (stacked[1] ? m * output_size : 0) + start * (output_size / whole.batch);
    char* k = direct ? kernel + (stacked[2] ? m * kernel_size : 0)
                     : prepared + (to_kernel ? task : (stacked[2] ? m : 0)) * blocked;
    char* b = bias;
    if (to_kernel && whole.bias && !direct) b = k + kernel_part;
    run_plan(plan, whole.kind, team, x, k, b, y);
    if (whole.activate) {
      const int64_t images = small + (p < larger);
      rectify(y, images * (whole.output_size() / whole.batch), whole.bfloat16,
              whole.slope);
    }
  });
  if (to_kernel && !direct) {
    parallel(pool, threads, members, [&](int64_t m) {
      auto* sum = reinterpret_cast<float*>(prepared + m * pieces * blocked);
      const int64_t n = blocked / sizeof(float);
      for (int64_t p = 1; p < pieces; ++p) {
        const auto* add = reinterpret_cast<float*>(prepared + (m * pieces + p) * blocked);
        for (int64_t i = 0; i < n; ++i) sum[i] += add[i];
      }
      char* target = kernel + m * kernel_size;
      if (first->reordered)
        run_reorder(*first, sum, target, true);
      else
        std::memcpy(target, sum, kernel_size);
      if (bias != nullptr) {
        const auto* total = sum + kernel_part / sizeof(float);
        for (int64_t i = 0; i < whole.channels_out; ++i) {
          if (whole.bfloat16)
            reinterpret_cast<uint16_t*>(bias)[i] = to_bfloat16(total[i]);
          else
            reinterpret_cast<float*>(bias)[i] = total[i];
        }
      }
    });
  }
}

Dims to_dims(ffi::Span<const int64_t> s) { return Dims(s.begin(), s.end()); }

using List = ffi::Span<const int64_t>;

// The attributes that every handler has.
Shape shape_of(int64_t kind, int64_t groups, List spatial, List window, List strides, List low,
               List high, List dilation, List output) {
  Shape s;
  s.kind = kind;
  s.groups = groups;
  s.spatial = to_dims(spatial);
  s.window = to_dims(window);
  s.strides = to_dims(strides);
  s.low = to_dims(low);
  s.high = to_dims(high);
  s.dilation = to_dims(dilation);
  s.output = to_dims(output);
  return s;
}

// The three roles of a convolution and the bias (or nullptr); errors become XLA's.
ffi::Error guarded(ffi::ThreadPool& pool, Shape s, int64_t members, const bool stacked[3],
                   const ffi::AnyBuffer& x, const ffi::AnyBuffer& k, const ffi::AnyBuffer* b,
                   const ffi::AnyBuffer& y) {
  try {
    s.bfloat16 = x.element_type() == ffi::BF16;
    s.batch = x.dimensions()[stacked[0] ? 1 : 0];
    s.channels_in = x.dimensions().back();
    s.channels_out = y.dimensions().back();
    s.bias = b != nullptr;
    run(pool, width_of(pool), s, members, stacked, static_cast<char*>(x.untyped_data()),
        static_cast<char*>(k.untyped_data()),
        b != nullptr ? static_cast<char*>(b->untyped_data()) : nullptr,
        static_cast<char*>(y.untyped_data()));
    return ffi::Error::Success();
  } catch (const dnnl::error& e) {
    return ffi::Error(ffi::ErrorCode::kInternal,
                      std::string("oneDNN convolution failed: ") + e.what());
  } catch (const std::exception& e) {
    return ffi::Error(ffi::ErrorCode::kInternal,
                      std::string("native convolution failed: ") + e.what());
  }
}

ffi::Error convolve(ffi::ThreadPool pool, ffi::AnyBuffer left, ffi::AnyBuffer right,
                    ffi::Result<ffi::AnyBuffer> result, int64_t kind, int64_t members,
                    bool left_stacked, bool right_stacked, int64_t groups, List spatial,
                    List window, List strides, List low, List high, List dilation,
                    List output) {
  const bool has_members = members > 0;
  const ffi::AnyBuffer out = *result;
  // Each of the three roles: its buffer, and whether it has an axis of members.
  const ffi::AnyBuffer& x = kind == kInput ? out : left;
  const ffi::AnyBuffer& k = kind == kKernel ? out : right;
  const ffi::AnyBuffer& y = kind == kOutput ? out : (kind == kInput ? left : right);
  const bool stacked[3] = {
      kind == kInput ? has_members : left_stacked,
      kind == kOutput ? has_members : (kind == kInput ? left_stacked : right_stacked),
      kind == kKernel ? has_members : right_stacked};
  return guarded(pool,
                 shape_of(kind, groups, spatial, window, strides, low, high, dilation, output),
                 has_members ? members : 1, stacked, x, k, nullptr, y);
}

constexpr bool kNoStack[3] = {false, false, false};

// activation(convolution + bias).
ffi::Error biased(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer k, ffi::AnyBuffer b,
                  ffi::Result<ffi::AnyBuffer> y, bool activate, float slope, int64_t groups,
                  List spatial, List window, List strides, List low, List high, List dilation,
                  List output) {
  Shape s = shape_of(kOutput, groups, spatial, window, strides, low, high, dilation, output);
  s.activate = activate;
  s.slope = slope;
  return guarded(pool, std::move(s), 1, kNoStack, x, k, &b, *y);
}

// The gradients to kernel and bias.
ffi::Error kernel_and_bias(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer y,
                           ffi::Result<ffi::AnyBuffer> k, ffi::Result<ffi::AnyBuffer> b,
                           int64_t groups, List spatial, List window, List strides, List low,
                           List high, List dilation, List output) {
  const ffi::AnyBuffer bias = *b;
  return guarded(pool,
                 shape_of(kKernel, groups, spatial, window, strides, low, high, dilation, output),
                 1, kNoStack, x, *k, &bias, y);
}

// The attributes of `shape_of`.
template <typename Binding>
auto geometry(Binding binding) {
  return std::move(binding)
      .template Attr<int64_t>("groups")
      .template Attr<List>("spatial")
      .template Attr<List>("window")
      .template Attr<List>("strides")
      .template Attr<List>("low")
      .template Attr<List>("high")
      .template Attr<List>("dilation")
      .template Attr<List>("output");
}

}  // namespace
}  // namespace jaxmed

using jaxmed::geometry;
namespace ffi = xla::ffi;

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedConv, jaxmed::convolve,
                              geometry(ffi::Ffi::Bind()
                                           .Ctx<ffi::ThreadPool>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Ret<ffi::AnyBuffer>()
                                           .Attr<int64_t>("kind")
                                           .Attr<int64_t>("members")
                                           .Attr<bool>("left_stacked")
                                           .Attr<bool>("right_stacked")));

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedConvBiased, jaxmed::biased,
                              geometry(ffi::Ffi::Bind()
                                           .Ctx<ffi::ThreadPool>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Ret<ffi::AnyBuffer>()
                                           .Attr<bool>("activate")
                                           .Attr<float>("slope")));

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedConvKernelBias, jaxmed::kernel_and_bias,
                              geometry(ffi::Ffi::Bind()
                                           .Ctx<ffi::ThreadPool>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Ret<ffi::AnyBuffer>()
                                           .Ret<ffi::AnyBuffer>()));

// Which kernel oneDNN would run ("brgconv:avx512_core", "ref:any", ...), written into `name`.
// `numbers`: kind, bfloat16, batch, channels_in, channels_out, groups, rank, then the seven
// lists of Shape. Returns 0, or 1 if oneDNN has none.
extern "C" int jaxmed_conv_probe(const int64_t* numbers, char* name, int64_t length) {
  try {
    jaxmed::Shape s;
    s.kind = numbers[0];
    s.bfloat16 = numbers[1];
    s.batch = numbers[2];
    s.channels_in = numbers[3];
    s.channels_out = numbers[4];
    s.groups = numbers[5];
    const int64_t rank = numbers[6];
    const int64_t* at = numbers + 7;
    for (jaxmed::Dims* d :
         {&s.spatial, &s.window, &s.strides, &s.low, &s.high, &s.dilation, &s.output}) {
      d->assign(at, at + rank);
      at += rank;
    }
    const auto plan = jaxmed::build(s, 1, nullptr);
    std::strncpy(name, plan->name.c_str(), length - 1);
    name[length - 1] = 0;
    return 0;
  } catch (const std::exception& e) {
    std::strncpy(name, e.what(), length - 1);
    name[length - 1] = 0;
    return 1;
  }
}
