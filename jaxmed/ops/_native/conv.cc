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

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "dnnl.hpp"
#include "xla/ffi/api/c_api.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using dnnl::memory;

namespace {

enum Kind : int64_t { kOutput = 0, kInput = 1, kKernel = 2 };

using Dims = std::vector<int64_t>;

// Multiplications below which a piece is not worth its own call.
constexpr int64_t kWorkOfPiece = 4'000'000;
// And below which waking an OpenMP team costs more than it gives.
constexpr int64_t kWorkOfTeam = 20'000'000;

struct Shape {
  int64_t kind;
  int64_t bfloat16;
  int64_t batch, channels_in, channels_out, groups;
  Dims spatial, window, strides, low, high, dilation, output;
  int64_t bias = 0;      // whether there is one (or a gradient to one)
  int64_t activate = 0;  // whether a ReLU follows, of this slope below zero
  float slope = 0;

  // Everything that decides a plan, as one comparable value.
  Dims key(int64_t threads) const {
    int32_t bits;
    std::memcpy(&bits, &slope, sizeof bits);
    Dims all = {kind,   bfloat16, batch, channels_in, channels_out,
                groups, threads,  bias,  activate,    bits};
    for (const Dims* d : {&spatial, &window, &strides, &low, &high, &dilation, &output})
      all.insert(all.end(), d->begin(), d->end());
    return all;
  }
  int64_t input_size() const { return product(spatial) * channels_in * batch; }
  int64_t output_size() const { return product(output) * channels_out * batch; }
  int64_t kernel_size() const {
    return product(window) * (channels_in / groups) * channels_out;
  }
  static int64_t product(const Dims& d) {
    int64_t p = 1;
    for (int64_t v : d) p *= v;
    return p;
  }
};

const dnnl::engine& engine() {
  static const dnnl::engine* const e = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *e;
}

// Sets the width of the OpenMP team for this thread, and sets it back.
class TeamWidth {
 public:
  explicit TeamWidth(int n) : previous_(omp_get_max_threads()) {
    if (n != previous_) omp_set_num_threads(n);
    changed_ = n != previous_;
  }
  ~TeamWidth() {
    if (changed_) omp_set_num_threads(previous_);
  }

 private:
  int previous_;
  bool changed_;
};

// Scratch memory that grows and stays: one for each thread and purpose.
class Scratch {
 public:
  ~Scratch() { std::free(data_); }
  char* get(size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      size_ = (bytes + 4095) / 4096 * 4096;
      data_ = static_cast<char*>(std::aligned_alloc(4096, size_));
      if (data_ == nullptr) {
        size_ = 0;
        throw std::bad_alloc();
      }
    }
    return data_;
  }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

memory::desc activations(const Shape& s, const Dims& spatial, int64_t channels,
                         memory::data_type type) {
  memory::dims dims = {s.batch, channels};
  dims.insert(dims.end(), spatial.begin(), spatial.end());
  memory::dims strides(dims.size());
  int64_t step = channels;
  for (size_t i = dims.size(); i-- > 2;) {
    strides[i] = step;
    step *= dims[i];
  }
  strides[1] = 1;
  strides[0] = step;
  return memory::desc(dims, type, strides);
}

memory::dims kernel_dims(const Shape& s) {
  memory::dims dims;
  if (s.groups > 1) dims.push_back(s.groups);
  dims.push_back(s.channels_out / s.groups);
  dims.push_back(s.channels_in / s.groups);
  dims.insert(dims.end(), s.window.begin(), s.window.end());
  return dims;
}

// (*window, in / groups, groups * out / groups), row-major.
memory::desc plain_kernel(const Shape& s, memory::data_type type) {
  memory::dims dims = kernel_dims(s), strides;
  if (s.groups > 1) strides.push_back(s.channels_out / s.groups);
  strides.push_back(1);
  strides.push_back(s.channels_out);
  memory::dims tail(s.window.size());
  int64_t step = s.channels_out * (s.channels_in / s.groups);
  for (size_t i = s.window.size(); i-- > 0;) {
    tail[i] = step;
    step *= s.window[i];
  }
  strides.insert(strides.end(), tail.begin(), tail.end());
  return memory::desc(dims, type, strides);
}

// A convolution made ready: for one shape and one number of threads.
struct Plan {
  dnnl::primitive primitive;
  memory::desc input, output;
  memory::desc bias;
  memory::desc kernel;        // as oneDNN wants it
  memory::desc plain;         // as JAX has it
  bool reordered = false;     // whether the two differ
  dnnl::primitive reorder;    // plain -> kernel, or kernel -> plain for the gradient to it
  size_t scratch = 0, reorder_scratch = 0;
  std::string name;
};

std::shared_ptr<Plan> build(const Shape& s, int threads, const memory::desc* fixed_kernel) {
  TeamWidth width(threads);
  auto plan = std::make_shared<Plan>();
  const auto type = s.bfloat16 ? memory::data_type::bf16 : memory::data_type::f32;
  // Partial sums of a gradient to the kernel are kept in single precision.
  const auto kernel_type = s.kind == kKernel ? memory::data_type::f32 : type;
  plan->input = activations(s, s.spatial, s.channels_in, type);
  plan->output = activations(s, s.output, s.channels_out, type);
  plan->plain = plain_kernel(s, type);
  const memory::desc any(kernel_dims(s), kernel_type, memory::format_tag::any);
  const memory::desc any_forward(kernel_dims(s), type, memory::format_tag::any);
  memory::dims dilates = s.dilation;
  for (auto& d : dilates) d -= 1;
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (s.bias) {
    plan->bias = memory::desc({s.channels_out}, kernel_type, memory::format_tag::a);
  }
  if (s.activate && s.slope != 0) {
    dnnl::post_ops after;
    after.append_eltwise(dnnl::algorithm::eltwise_relu, s.slope, 0);
    attr.set_post_ops(after);
  }
  const auto direct = dnnl::algorithm::convolution_direct;
  memory::desc scratch;
  if (s.kind == kOutput) {
    dnnl::convolution_forward::primitive_desc pd(
        engine(), dnnl::prop_kind::forward_training, direct, plan->input,
        fixed_kernel ? *fixed_kernel : any, plan->bias, plan->output, s.strides, dilates,
        s.low, s.high, attr);
    plan->kernel = pd.weights_desc();
    plan->name = pd.impl_info_str();
    scratch = pd.scratchpad_desc();
    plan->primitive = dnnl::convolution_forward(pd);
  } else {
    dnnl::convolution_forward::primitive_desc hint(
        engine(), dnnl::prop_kind::forward_training, direct, plan->input, any_forward,
        plan->output, s.strides, dilates, s.low, s.high, attr);
    if (s.kind == kInput) {
      dnnl::convolution_backward_data::primitive_desc pd(
          engine(), direct, plan->input, fixed_kernel ? *fixed_kernel : any, plan->output,
          s.strides, dilates, s.low, s.high, hint, attr);
      plan->kernel = pd.weights_desc();
      plan->name = pd.impl_info_str();
      scratch = pd.scratchpad_desc();
      plan->primitive = dnnl::convolution_backward_data(pd);
    } else {
      dnnl::convolution_backward_weights::primitive_desc pd(
          engine(), direct, plan->input, fixed_kernel ? *fixed_kernel : any, plan->bias,
          plan->output, s.strides, dilates, s.low, s.high, hint, attr);
      plan->kernel = pd.diff_weights_desc();
      plan->name = pd.impl_info_str();
      scratch = pd.scratchpad_desc();
      plan->primitive = dnnl::convolution_backward_weights(pd);
    }
  }
  plan->scratch = scratch.get_size();
  plan->reordered = plan->kernel != plan->plain;
  if (plan->reordered) {
    const bool out = s.kind == kKernel;
    dnnl::reorder::primitive_desc pd(engine(), out ? plan->kernel : plan->plain, engine(),
                                     out ? plan->plain : plan->kernel, attr);
    plan->reorder_scratch = pd.scratchpad_desc().get_size();
    plan->reorder = dnnl::reorder(pd);
  }
  return plan;
}

std::shared_ptr<Plan> plan_for(const Shape& s, int threads, const memory::desc* fixed_kernel) {
  static std::shared_mutex* const mutex = new std::shared_mutex;
  static auto* const plans = new std::map<Dims, std::shared_ptr<Plan>>;
  Dims key = s.key(threads);
  key.push_back(fixed_kernel != nullptr);
  {
    std::shared_lock lock(*mutex);
    auto found = plans->find(key);
    if (found != plans->end()) return found->second;
  }
  auto plan = build(s, threads, fixed_kernel);
  std::unique_lock lock(*mutex);
  return plans->emplace(std::move(key), std::move(plan)).first->second;
}

memory::desc bytes_desc(size_t n) {
  return memory::desc({static_cast<int64_t>(n)}, memory::data_type::u8, memory::format_tag::a);
}

dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}

Scratch& thread_scratch() {
  thread_local Scratch s;
  return s;
}

void run_reorder(const Plan& plan, void* from, void* to, bool out) {
  TeamWidth width(1);
  std::unordered_map<int, memory> args = {
      {DNNL_ARG_FROM, memory(out ? plan.kernel : plan.plain, engine(), from)},
      {DNNL_ARG_TO, memory(out ? plan.plain : plan.kernel, engine(), to)}};
  if (plan.reorder_scratch)
    args.emplace(DNNL_ARG_SCRATCHPAD,
                 memory(bytes_desc(plan.reorder_scratch), engine(),
                        thread_scratch().get(plan.reorder_scratch)));
  plan.reorder.execute(stream(), args);
  stream().wait();
}

void run_plan(const Plan& plan, int64_t kind, int threads, void* input, void* kernel,
              void* bias, void* output) {
  TeamWidth width(threads);
  const bool forward = kind == kOutput;
  std::unordered_map<int, memory> args;
  args.emplace(kind == kInput ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC,
               memory(plan.input, engine(), input));
  args.emplace(kind == kKernel ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
               memory(plan.kernel, engine(), kernel));
  args.emplace(forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST,
               memory(plan.output, engine(), output));
  if (bias != nullptr)
    args.emplace(kind == kKernel ? DNNL_ARG_DIFF_BIAS : DNNL_ARG_BIAS,
                 memory(plan.bias, engine(), bias));
  if (plan.scratch)
    args.emplace(DNNL_ARG_SCRATCHPAD, memory(bytes_desc(plan.scratch), engine(),
                                             thread_scratch().get(plan.scratch)));
  plan.primitive.execute(stream(), args);
  stream().wait();
}

// Runs task(0) ... task(n - 1) on the pool and on the calling thread. The caller takes
// tasks too and waits only for those that others have begun, so a full pool cannot block it.
void parallel(ffi::ThreadPool& pool, int64_t workers, int64_t n,
              const std::function<void(int64_t)>& task) {
  workers = std::min(workers, n);
  if (workers <= 1) {
    for (int64_t i = 0; i < n; ++i) task(i);
    return;
  }
  struct State {
    std::atomic<int64_t> next{0}, done{0};
    int64_t n;
    const std::function<void(int64_t)>* task;
    std::mutex mutex;
    std::condition_variable all_done;
    std::exception_ptr error;
    void work() {
      for (int64_t i; (i = next.fetch_add(1)) < n;) {
        try {
          (*task)(i);
        } catch (...) {
          std::lock_guard lock(mutex);
          if (!error) error = std::current_exception();
        }
        if (done.fetch_add(1) + 1 == n) {
          std::lock_guard lock(mutex);
          all_done.notify_all();
        }
      }
    }
  };
  auto state = std::make_shared<State>();
  state->n = n;
  state->task = &task;
  for (int64_t w = 1; w < workers; ++w) pool.Schedule([state] { state->work(); });
  state->work();
  std::unique_lock lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done.load() == state->n; });
  if (state->error) std::rethrow_exception(state->error);
}

uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// max(x, 0), with NaN left as it is: oneDNN's own ReLU would make a zero of it.
void rectify(char* values, int64_t n, bool bfloat16) {
  if (bfloat16) {
    auto* v = reinterpret_cast<uint16_t*>(values);
    for (int64_t i = 0; i < n; ++i) {
      const bool negative = v[i] > 0x8000 && v[i] <= 0xff80;
      v[i] = negative ? 0 : v[i];
    }
  } else {
    auto* v = reinterpret_cast<float*>(values);
    for (int64_t i = 0; i < n; ++i) v[i] = v[i] < 0 ? 0 : v[i];
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
    pieces = std::clamp(work / kWorkOfPiece, threads, 4 * threads);
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
  if (!direct) prepared = buffer.get(blocked * (to_kernel ? members * pieces : kernels));
  if (!to_kernel && !direct) {
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
    if (whole.activate && whole.slope == 0) {
      const int64_t images = small + (p < larger);
      rectify(y, images * (whole.output_size() / whole.batch), whole.bfloat16);
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

int64_t thread_limit() {
  static const int64_t limit = [] {
    const char* text = std::getenv("OMP_NUM_THREADS");
    const long value = text ? std::strtol(text, nullptr, 10) : 0;
    return value > 0 ? static_cast<int64_t>(value) : INT64_MAX;
  }();
  return limit;
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
    const int64_t threads =
        std::max<int64_t>(1, std::min<int64_t>(pool.num_threads(), thread_limit()));
    run(pool, threads, s, members, stacked, static_cast<char*>(x.untyped_data()),
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

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedConv, convolve,
                              geometry(ffi::Ffi::Bind()
                                           .Ctx<ffi::ThreadPool>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Ret<ffi::AnyBuffer>()
                                           .Attr<int64_t>("kind")
                                           .Attr<int64_t>("members")
                                           .Attr<bool>("left_stacked")
                                           .Attr<bool>("right_stacked")));

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedConvBiased, biased,
                              geometry(ffi::Ffi::Bind()
                                           .Ctx<ffi::ThreadPool>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Arg<ffi::AnyBuffer>()
                                           .Ret<ffi::AnyBuffer>()
                                           .Attr<bool>("activate")
                                           .Attr<float>("slope")));

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedConvKernelBias, kernel_and_bias,
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
    Shape s;
    s.kind = numbers[0];
    s.bfloat16 = numbers[1];
    s.batch = numbers[2];
    s.channels_in = numbers[3];
    s.channels_out = numbers[4];
    s.groups = numbers[5];
    const int64_t rank = numbers[6];
    const int64_t* at = numbers + 7;
    for (Dims* d :
         {&s.spatial, &s.window, &s.strides, &s.low, &s.high, &s.dilation, &s.output}) {
      d->assign(at, at + rank);
      at += rank;
    }
    const auto plan = build(s, 1, nullptr);
    std::strncpy(name, plan->name.c_str(), length - 1);
    name[length - 1] = 0;
    return 0;
  } catch (const std::exception& e) {
    std::strncpy(name, e.what(), length - 1);
    name[length - 1] = 0;
    return 1;
  }
}
