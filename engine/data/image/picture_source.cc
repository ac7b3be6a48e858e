#include "engine/data/image/picture_source.h"
