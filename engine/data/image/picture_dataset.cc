#include "engine/data/image/picture_dataset.h"
