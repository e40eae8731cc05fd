"""The words by which customers name things, as patterns. Add a word or a language here, nowhere else."""

import re

ITEMS = {
    "kettle": r"kettles?|wasserkocher|bouilloires?",
    "lamp": r"lamps?|lampen?|lampes?",
    "mug": r"mugs?|bechern?|tasses?",
    "teapot": r"teapots?|teekannen?|théières?",
    "rug": r"rugs?|(?:door )?mats?|teppiche?|tapis",
    "chair": r"chairs?|stühle?|stuhl|chaises?",
    "blanket": r"blankets?|throws?|decken?|couvertures?|plaids?",
    "pan": r"pans?|skillets?|pfannen?|poêles?",
    "knife": r"knife|knives|messer|couteaux?",
    "vase": r"vases?|vasen",
    "clock": r"clocks?|uhren?|horloges?",
    "tea": r"tea|teas|tee|thé",
    "candle": r"candles?|candle jars?|kerzen?|bougies?",
    "pattern": r"(?:sewing )?patterns?|schnittmuster|patrons? de couture",
    "ebook": r"e-?books?|livres? numériques?",
    "voucher": r"gift cards?|(?:gift )?vouchers?|gutscheine?|cartes? cadeaux?",
    "brush": r"(?:bath )?brush(?:es)?|badebürsten?|brosses?",
    "mirror": r"mirrors?|spiegel|miroirs?",
    "table": r"(?:side |tray )?tables?|tische?",
}

# In the order in which they are tried: what is broken and not wanted any more is broken.
CAUSES = {
    "charged_twice": r"charged (?:me |us )?twice|double charge|taken twice|doppelt abgebucht|zweimal abgebucht"
    r"|débité(?:e)? deux fois|prélevé deux fois",
    "not_arrived": r"(?:never|not|n't) (?:yet )?(?:arrived?|come|turned up|received)|nicht angekommen|nie angekommen"
    r"|jamais (?:reçu|arrivé)|pas (?:reçu|arrivé)",
    "wrong_item": r"wrong (?:item|colour|color|size|one)|instead of the|falsche[nrs]? (?:artikel|farbe|größe)"
    r"|mauvais(?:e)? (?:article|couleur|taille)",
    "damaged": r"broken|crack(?:ed|s)|damaged?|chipped|shattered|scratched|leaks?|faulty|defective|dented|torn"
    r"|(?:has )?stopped working|does(?: not|n't) work|kaputt|beschädigt|zerbrochen|defekt|cassée?|abîmée?|fêlée?",
    "unwanted": r"changed? my mind|(?:do not|don't|no longer|not) (?:want|need)(?: it| them| either| any)?"
    r"|want to return|like to return|by mistake|not for me|gefällt\b.{0,12}\bnicht|zurückgeben|renvoyer"
    r"|ne (?:me )?(?:convient|plaît) pas",
}

REFUND = (
    r"refund(?:ed|s)?|money back|get back|reimburse(?:d|ment)?|erstatt(?:en|ung)|geld zurück|zurückgeben"
    r"|rembours(?:er|ement|ez)"
)
THANKS = r"thank you|thanks|many thanks|danke|vielen dank|merci"

TOPICS = {
    "sale": r"clearance|sale|reduced|ausverkauf|reduziert|soldée?|soldes",
    "returns": r"how long|return (?:it|them|window)|give (?:it|them) back|rückgabefrist|zurückgeben|renvoyer",
    "delivery": r"when will|where is|how long does delivery|wann kommt|quand arrive",
    "downloads": r"downloads?|pdf|e-?books?",
    "vouchers": r"vouchers?|gift cards?|gutscheine?|cartes? cadeaux?",
    "damage": r"damaged on arrival\?|if it breaks",
}

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "zwei": 2, "drei": 3, "deux": 2, "trois": 3}

LANGUAGES = {
    "de": r"\b(?:der|die|das|und|ist|nicht|bitte|guten|hallo|ich|wir|aus|mit|bei|ihnen)\b",
    "fr": r"\b(?:le|la|les|je|de|ma|est|bonjour|merci|pas|un|une|il|peut-on|s'il|demande)\b",
    "en": r"\b(?:the|and|is|not|please|hello|hi|it|i|you|my|from|order)\b",
}


def found(words: str, text: str) -> re.Match[str] | None:
    """The first place where one of the words stands by itself."""
    return re.search(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE)


def count(words: str, text: str) -> int:
    return len(re.findall(words, text, re.IGNORECASE))
