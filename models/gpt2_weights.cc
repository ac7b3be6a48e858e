#include "models/gpt2_weights.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <list>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/io/file.h"

namespace lockstep::inline v0_1 {
namespace {

// What stands in front of GPT-2's own names: of who holds the model, or wraps it.
constexpr std::string_view kPrefixes[] = {"transformer.", "module.", "_orig_mod.", "model."};

struct Rule {
  std::string_view theirs;
  std::string_view ours;  // empty: left out
  bool turned = false;    // (in, out) there, (out, in) here
};
// Of each block, behind "h.N.".
constexpr Rule kRules[] = {
    {"ln_1.weight", "norm1.weight"},
    {"ln_1.bias", "norm1.bias"},
    {"ln_2.weight", "norm2.weight"},
    {"ln_2.bias", "norm2.bias"},
    {"attn.c_attn.weight", "self_attn.in_proj_weight", true},
    {"attn.c_attn.bias", "self_attn.in_proj_bias"},
    {"attn.c_proj.weight", "self_attn.out_proj.weight", true},
    {"attn.c_proj.bias", "self_attn.out_proj.bias"},
    {"mlp.c_fc.weight", "linear1.weight", true},
    {"mlp.c_fc.bias", "linear1.bias"},
    {"mlp.c_proj.weight", "linear2.weight", true},
    {"mlp.c_proj.bias", "linear2.bias"},
    {"attn.bias", ""},
    {"attn.masked_bias", ""},
};
constexpr std::string_view kOutside[] = {"wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"};
constexpr std::string_view kHead = "lm_head.weight";

std::string_view WithoutPrefix(std::string_view name) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : kPrefixes) {
      if (!name.starts_with(prefix)) continue;
      name.remove_prefix(prefix.size());
      again = true;
    }
  }
  return name;
}

// "h.11." of "h.11.ln_1.weight"; empty where it is not of a block.
std::string_view BlockOf(std::string_view name) {
  if (!name.starts_with("h.")) return {};
  const size_t dot = name.find_first_not_of("0123456789", 2);
  if (dot == 2 || dot == std::string_view::npos || name[dot] != '.') return {};
  return name.substr(0, dot + 1);
}

const Rule* RuleFor(std::string_view rest) {
  const auto* const found = std::find_if(std::begin(kRules), std::end(kRules),
                                         [&](const Rule& rule) { return rule.theirs == rest; });
  return found == std::end(kRules) ? nullptr : found;
}

Status UnknownTensor(const std::string& name) {
  return Status::Invalid("tensor " + Quoted(name) + " is none of GPT-2's");
}

// A matrix turned, whatever its elements are.
std::vector<std::byte> Turned(const StoredTensor& stored) {
  const size_t size = SizeOf(stored.type);
  const auto rows = static_cast<size_t>(stored.shape[0]);
  const auto columns = static_cast<size_t>(stored.shape[1]);
  std::vector<std::byte> turned(stored.data.size());
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) {
      std::memcpy(turned.data() + (c * rows + r) * size,
                  stored.data.data() + (r * columns + c) * size, size);
    }
  }
  return turned;
}

bool Same(const StoredTensor& a, const StoredTensor& b) {
  return a.type == b.type && a.shape == b.shape &&
         std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end());
}

bool HasParameter(const Network& network, std::string_view name) {
  const std::vector<ParameterInfo>& infos = network.store().infos();
  return std::any_of(infos.begin(), infos.end(),
                     [&](const ParameterInfo& info) { return info.name == name; });
}

// The tensors by our names; `memory` holds those that were turned.
Result<std::vector<StoredTensor>> Translated(const SafetensorsFile& file, const Network& network,
                                             std::list<std::vector<std::byte>>& memory) {
  std::vector<StoredTensor> ours;
  const StoredTensor *embedding = nullptr, *head = nullptr;
  for (const StoredTensor& theirs : file.tensors) {
    const std::string_view name = WithoutPrefix(theirs.name);
    if (name == kHead) {
      head = &theirs;
      continue;
    }
    StoredTensor one = theirs;
    if (const std::string_view block = BlockOf(name); !block.empty()) {
      const Rule* const rule = RuleFor(name.substr(block.size()));
      if (rule == nullptr) return UnknownTensor(theirs.name);
      if (rule->ours.empty()) continue;
      one.name = std::string(block) + std::string(rule->ours);
      if (rule->turned) {
        if (theirs.shape.rank() != 2) {
          return Status::Invalid("tensor " + Quoted(theirs.name) + " is " + theirs.Describe() +
                                 ", not a matrix");
        }
        one.data = memory.emplace_back(Turned(theirs));
        one.shape = {theirs.shape[1], theirs.shape[0]};
      }
    } else if (std::find(std::begin(kOutside), std::end(kOutside), name) != std::end(kOutside)) {
      one.name = std::string(name);
      if (name == "wte.weight") embedding = &theirs;
    } else {
      return UnknownTensor(theirs.name);
    }
    ours.push_back(std::move(one));
  }
  if (HasParameter(network, kHead)) {
    if (const StoredTensor* from = head != nullptr ? head : embedding; from != nullptr) {
      ours.push_back(*from);
      ours.back().name = kHead;
    }
  } else if (head != nullptr && embedding != nullptr && !Same(*head, *embedding)) {
    return Status::Invalid("tensor " + Quoted(head->name) + " is not " + Quoted(embedding->name) +
                           " again, but the model's head is: give it a head of its own");
  }
  return ours;
}

const SafetensorsHeader::Entry* Find(const SafetensorsHeader& header, std::string_view name) {
  for (const auto& entry : header.entries) {
    if (WithoutPrefix(entry.name) == name) return &entry;
  }
  return nullptr;
}

}  // namespace

bool HasGpt2Names(const SafetensorsHeader& header) {
  return Find(header, "wte.weight") != nullptr && Find(header, "wpe.weight") != nullptr &&
         Find(header, "h.0.attn.c_attn.weight") != nullptr;
}

Result<GptOptions> Gpt2Options(const SafetensorsHeader& header) {
  const auto* const tokens = Find(header, "wte.weight");
  const auto* const places = Find(header, "wpe.weight");
  const auto* const inner = Find(header, "h.0.mlp.c_fc.weight");
  if (tokens == nullptr || places == nullptr || inner == nullptr || tokens->shape.rank() != 2 ||
      places->shape.rank() != 2 || inner->shape.rank() != 2 ||
      tokens->shape[1] != places->shape[1] || tokens->shape[1] != inner->shape[0]) {
    return Status::Invalid(
        "wte.weight (tokens, width), wpe.weight (context, width) and h.0.mlp.c_fc.weight (width, "
        "inner width) do not fit together, or are not there: these are no weights of GPT-2");
  }
  GptOptions options{.vocabulary = tokens->shape[0],
                     .context = places->shape[0],
                     .layers = 0,
                     .heads = std::max<int64_t>(1, tokens->shape[1] / 64),
                     .width = tokens->shape[1],
                     .feed_forward = inner->shape[1]};
  while (Find(header, "h." + std::to_string(options.layers) + ".ln_1.weight") != nullptr)
    ++options.layers;
  return options;
}

Result<ImportedWeights> ImportGpt2Weights(const std::string& path, Network& network) {
  LOCKSTEP_TRY_ASSIGN(const SafetensorsFile file, ReadSafetensors(path));
  std::list<std::vector<std::byte>> memory;
  Result<std::vector<StoredTensor>> ours = Translated(file, network, memory);
  if (!ours.ok()) return ours.status().At(path);
  Result<ImportedWeights> imported = ImportTensors(*ours, network);
  if (!imported.ok()) return imported.status().At(path);
  return imported;
}

}  // namespace lockstep
