/* base/version.h -- which facteur this is. */
#ifndef FACTEUR_BASE_VERSION_H
#define FACTEUR_BASE_VERSION_H
#define FACTEUR_VERSION "0.1.0"
#endif
