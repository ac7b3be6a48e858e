#include "engine/train/generator.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "engine/base/catch.h"

namespace lockstep::inline v0_1 {
namespace {

Status CheckIsLanguageModel(const Network& network) {
  const Graph& graph = network.evaluation_program().graph();
  const TensorSpec& x = graph.spec(graph.inputs()[0].value);
  const TensorSpec& y = graph.spec(graph.outputs()[0].value);
  const bool fits = network.feature_inputs() == 1 && x.dtype == DType::kI32 &&
                    x.shape.rank() == 2 && y.dtype == DType::kF32 && y.shape.rank() == 3 &&
                    y.shape[0] == x.shape[0] && y.shape[1] == x.shape[1];
  if (fits) return Status::Ok();
  return Status::Invalid(std::string("this is no language model: it makes ") + NameOf(y.dtype) +
                         " " + y.shape.ToString() + " of " + NameOf(x.dtype) + " " +
                         x.shape.ToString() +
                         ", not a score for every token of (texts, tokens) i32");
}

}  // namespace

Result<Generator> Generator::Make(Network& network, const GeneratorOptions& options) {
  return StatusOf([&] { return MakeFor(network, options); });
}

Result<Generator> Generator::MakeFor(Network& network, const GeneratorOptions& options) {
  LOCKSTEP_TRY(CheckIsLanguageModel(network));
  if (options.context < 1 || options.chunk < 1) {
    return Status::Invalid("context and chunk must be at least 1 token, not " +
                           std::to_string(options.context) + " and " +
                           std::to_string(options.chunk));
  }
  const int64_t vocabulary = network.output_shape().channels();
  LOCKSTEP_TRY_ASSIGN(Sampler sampler, Sampler::Make(vocabulary, options.sampling));
  Generator generator(network, options, std::move(sampler));
  generator.vocabulary_ = vocabulary;
  generator.options_.chunk = std::min(options.chunk, options.context);
  if (options.slides) generator.recent_.resize(static_cast<size_t>(options.context));
  LOCKSTEP_TRY_ASSIGN(generator.program_, network.BuildForText(generator.options_.chunk,
                                                               options.context, generator.memory_));
  return generator;
}

Status Generator::Start(std::span<const int32_t> prompt) {
  return StatusOf([&] { return StartText(prompt); });
}

Status Generator::StartText(std::span<const int32_t> prompt) {
  if (!network_) return Status::Invalid("this generator was moved from: use the one it moved to");
  if (prompt.empty() && options_.end_of_text >= 0) prompt = {&options_.end_of_text, 1};
  const auto count = static_cast<int64_t>(prompt.size());
  if (count == 0) return Status::Invalid("a text must begin with something: the prompt is empty");
  if (count > options_.context) {
    return Status::Invalid("the prompt has " + std::to_string(count) +
                           " tokens, the model sees at most " + std::to_string(options_.context));
  }
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] >= 0 && prompt[i] < vocabulary_) continue;
    return Status::Invalid("token " + std::to_string(i) + " of the prompt is " +
                           std::to_string(prompt[i]) + ", the model knows 0 to " +
                           std::to_string(vocabulary_ - 1));
  }
  sampler_.Reset();
  seen_ = length_ = 0;
  unseen_ = false;
  ended_ = TextEnd::kNot;
  if (options_.slides) std::copy(prompt.begin(), prompt.end(), recent_.begin());
  LOCKSTEP_TRY(See(prompt));
  for (const int32_t token : prompt) sampler_.Saw(token);
  length_ = count;
  return Status::Ok();
}

// The network sees the next tokens of the text, some at a time.
Status Generator::See(std::span<const int32_t> tokens) {
  while (!tokens.empty()) {
    const auto now = std::min(tokens.size(), static_cast<size_t>(options_.chunk));
    LOCKSTEP_TRY(Run(tokens.first(now)));
    tokens = tokens.subspan(now);
  }
  return Status::Ok();
}

Status Generator::Run(std::span<const int32_t> tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  const BatchCut cut = BatchCut::Whole(count, 1);
  program_->SetCut(cut);
  program_->SetInput(0, ConstTensor(tokens.data(), DType::kI32, {count, 1}));
  const Step step{.ctx = network_->context(),
                  .program = *program_,
                  .cut = cut,
                  .states = network_->store().state_memory(/*staged=*/false),
                  .first_token = seen_};
  LOCKSTEP_TRY(program_->Check(step, /*losses=*/false));
  program_->Forward(step, /*losses=*/false);
  seen_ += count;
  last_run_ = count;
  return Status::Ok();
}

// The newest half of what the network has seen becomes all that it has seen.
Status Generator::Slide() {
  const int64_t kept = seen_ / 2;
  std::copy(recent_.begin() + (seen_ - kept), recent_.begin() + seen_, recent_.begin());
  seen_ = 0;
  return See({recent_.data(), static_cast<size_t>(kept)});
}

std::span<const float> Generator::scores() const {
  return program_->output(0).span<float>().subspan(
      static_cast<size_t>((last_run_ - 1) * vocabulary_), static_cast<size_t>(vocabulary_));
}

Result<std::optional<int32_t>> Generator::Next() {
  return StatusOf([&] { return NextToken(); });
}

Result<std::optional<int32_t>> Generator::NextToken() {
  if (!network_) return Status::Invalid("this generator was moved from: use the one it moved to");
  if (length_ == 0)
    return Status::Invalid("there is no text to go on with: a Start that succeeds comes first");
  if (ended_ != TextEnd::kNot) return std::optional<int32_t>();
  if (unseen_) {
    if (seen_ == options_.context && !options_.slides) {
      ended_ = TextEnd::kContext;
      return std::optional<int32_t>();
    }
    if (seen_ == options_.context) LOCKSTEP_TRY(Slide());
    if (options_.slides) recent_[static_cast<size_t>(seen_)] = last_;
    LOCKSTEP_TRY(See({&last_, 1}));
    unseen_ = false;
  }
  LOCKSTEP_TRY_ASSIGN(const int32_t token, sampler_.Draw(scores(), length_));
  if (token == options_.end_of_text) {
    ended_ = TextEnd::kEndOfText;
    return std::optional<int32_t>();
  }
  sampler_.Saw(token);
  last_ = token;
  unseen_ = true;
  ++length_;
  return std::optional<int32_t>(token);
}

}  // namespace lockstep
