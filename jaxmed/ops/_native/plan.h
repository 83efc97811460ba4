// A convolution made ready by oneDNN, and kept: for one shape and one number of threads.

#pragma once

#include <omp.h>

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dnnl.hpp"
#include "parallel.h"

namespace jaxmed {

using dnnl::memory;

enum Kind : int64_t { kOutput = 0, kInput = 1, kKernel = 2 };

using Dims = std::vector<int64_t>;

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
    Dims all = {kind, bfloat16, batch, channels_in, channels_out, groups, threads, bias};
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

inline const dnnl::engine& engine() {
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

inline memory::desc activations(const Shape& s, const Dims& spatial, int64_t channels,
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

inline memory::dims kernel_dims(const Shape& s) {
  memory::dims dims;
  if (s.groups > 1) dims.push_back(s.groups);
  dims.push_back(s.channels_out / s.groups);
  dims.push_back(s.channels_in / s.groups);
  dims.insert(dims.end(), s.window.begin(), s.window.end());
  return dims;
}

// (*window, in / groups, groups * out / groups), row-major.
inline memory::desc plain_kernel(const Shape& s, memory::data_type type) {
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

inline std::shared_ptr<Plan> build(const Shape& s, int threads, const memory::desc* fixed_kernel) {
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

inline std::shared_ptr<Plan> plan_for(const Shape& s, int threads, const memory::desc* fixed_kernel) {
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

inline memory::desc bytes_desc(size_t n) {
  return memory::desc({static_cast<int64_t>(n)}, memory::data_type::u8, memory::format_tag::a);
}

inline dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}

inline Scratch& thread_scratch() {
  thread_local Scratch s;
  return s;
}

inline void run_reorder(const Plan& plan, void* from, void* to, bool out) {
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

inline void run_plan(const Plan& plan, int64_t kind, int threads, void* input, void* kernel,
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

}  // namespace jaxmed
