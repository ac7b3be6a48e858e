// The families of networks that recipes know. A family is one struct with a file of its own, as
// mlp_family.h, and its name in the list below:
//
//   kKind                what model.kind calls it
//   kTitle               what it is, for reports
//   members              the values of its keys in [model], with their defaults
//   VisitKeys(m, visit)  visit(key, member, limits, meaning) for each key
//   Build(samples)       the layers
#ifndef LOCKSTEP_MODELS_RECIPE_FAMILY_H_
#define LOCKSTEP_MODELS_RECIPE_FAMILY_H_

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "models/cnn_family.h"
#include "models/mlp_family.h"
#include "models/recurrent_family.h"
#include "models/transformer_family.h"

namespace lockstep::inline v0_1 {

using Family = std::variant<MlpFamily, CnnFamily, TransformerFamily, RecurrentFamily>;

inline const char* KindOf(const Family& family) {
  return std::visit([](const auto& one) { return one.kKind; }, family);
}
inline const char* TitleOf(const Family& family) {
  return std::visit([](const auto& one) { return one.kTitle; }, family);
}

// Every family, with its defaults.
inline std::vector<Family> AllFamilies() {
  return []<size_t... kIndex>(std::index_sequence<kIndex...>) {
    return std::vector<Family>{Family(std::in_place_index<kIndex>)...};
  }
  (std::make_index_sequence<std::variant_size_v<Family>>());
}
inline KeyLimits FamilyKinds() {
  KeyLimits limits;
  for (const Family& family : AllFamilies()) limits.choices.emplace_back(KindOf(family));
  return limits;
}
inline std::optional<Family> FamilyOfKind(const std::string& kind) {
  for (Family& family : AllFamilies()) {
    if (kind == KindOf(family)) return std::move(family);
  }
  return std::nullopt;
}

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_FAMILY_H_
