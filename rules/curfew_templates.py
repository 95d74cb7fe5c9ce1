"""Night limits of graduated driver licensing in the United States, as policies to start from.

Each names the law it follows and the page it was read on. They help to choose a window and are no legal advice: the
exemptions of each state (work, school, emergencies, supervision) can't be told from telematics.
"""

from collections.abc import Sequence

from schemas.curfew import CurfewPolicyRequest, Day
from schemas.curfew_questions import CurfewTemplate, TemplateSource

NOTE = (
    "Starting points, no legal advice: laws change, and their exemptions (work, school, emergencies, a supervising "
    "adult) are not judged. Compare with the source, and with the IIHS table of graduated licensing laws "
    "(https://www.iihs.org/topics/teenagers/graduated-licensing-laws-table)."
)

_EASTERN = ("America/New_York",)
_WEEK = tuple(Day)
_BEFORE_WORKDAYS = (Day.SUNDAY, Day.MONDAY, Day.TUESDAY, Day.WEDNESDAY, Day.THURSDAY)
_BEFORE_FREE_DAYS = (Day.FRIDAY, Day.SATURDAY)


def _nightly(start: str, end: str) -> list[tuple[tuple[Day, ...], str, str]]:
    return [(_WEEK, start, end)]


def _template(
    state: str,
    name: str,
    license_: str,
    *,
    applies_to: str,
    windows: Sequence[tuple[tuple[Day, ...], str, str]],
    source: TemplateSource,
    timezones: tuple[str, ...] = _EASTERN,
    variant: str = "",
) -> CurfewTemplate:
    (days, start, end), *others = windows
    several = [{"days": d, "start": s, "end": e} for d, s, e in windows]
    policy = CurfewPolicyRequest.model_validate(
        {
            "enabled": True,
            "timezone": timezones[0],
            "days": _WEEK if others else days,
            "timeWindow": None if others else {"start": start, "end": end},
            "timeWindows": several if others else None,
        }
    )
    return CurfewTemplate(
        template_id=f"us-{state.lower()}{variant}",
        state=state,
        name=name,
        license=license_,
        applies_to=applies_to,
        timezones=timezones,
        policy=policy,
        source=source,
    )


TEMPLATES: tuple[CurfewTemplate, ...] = (
    _template(
        "CA",
        "California",
        "Provisional driver license",
        applies_to="Drivers of 16 and 17, for the first 12 months of the license",
        windows=_nightly("23:00", "05:00"),
        source=TemplateSource(
            citation="California Vehicle Code § 12814.6",
            title="Questions and Answers Regarding Provisional Driver License Restrictions (California DMV)",
            url="https://leginfo.legislature.ca.gov/faces/codes_displaySection.xhtml?lawCode=VEH&sectionNum=12814.6",
        ),
        timezones=("America/Los_Angeles",),
    ),
    _template(
        "CT",
        "Connecticut",
        "Driver's license at 16 or 17",
        applies_to="Drivers of 16 and 17",
        windows=_nightly("23:00", "05:00"),
        source=TemplateSource(
            citation="Connecticut General Statutes § 14-36g",
            title="Connecticut: restrictions during the intermediate stage (IIHS)",
            url="https://www.iihs.org/iihs/topics/laws/graduatedlicensestatelaws?stateabbr=CT",
        ),
    ),
    _template(
        "FL",
        "Florida",
        "Class E driver license",
        applies_to="Drivers of 16",
        windows=_nightly("23:00", "06:00"),
        source=TemplateSource(
            citation="Florida Statutes § 322.16",
            title="Licensing Requirements for Teens, Graduated Driver License Laws and Driving Curfews (FLHSMV)",
            url="https://www.flhsmv.gov/driver-licenses-id-cards/licensing-requirements-teens-graduated-driver-license-laws-driving-curfews/",
        ),
        timezones=("America/New_York", "America/Chicago"),
        variant="-16",
    ),
    _template(
        "FL",
        "Florida",
        "Class E driver license",
        applies_to="Drivers of 17",
        windows=_nightly("01:00", "05:00"),
        source=TemplateSource(
            citation="Florida Statutes § 322.16",
            title="Licensing Requirements for Teens, Graduated Driver License Laws and Driving Curfews (FLHSMV)",
            url="https://www.flhsmv.gov/driver-licenses-id-cards/licensing-requirements-teens-graduated-driver-license-laws-driving-curfews/",
        ),
        timezones=("America/New_York", "America/Chicago"),
        variant="-17",
    ),
    _template(
        "GA",
        "Georgia",
        "Class D provisional license",
        applies_to="Drivers of 16 and 17; without exceptions",
        windows=_nightly("00:00", "05:00"),
        source=TemplateSource(
            citation="O.C.G.A. § 40-5-24",
            title="Instruction Permits; Graduated Licensing and Related Restrictions (2022 Georgia Code)",
            url="https://law.justia.com/codes/georgia/2022/title-40/chapter-5/article-2/section-40-5-24/",
        ),
    ),
    _template(
        "IL",
        "Illinois",
        "Graduated driver license, initial licensing phase",
        applies_to="Drivers of 16 and 17; an hour later on Friday and Saturday nights",
        windows=[(_BEFORE_WORKDAYS, "22:00", "06:00"), (_BEFORE_FREE_DAYS, "23:00", "06:00")],
        source=TemplateSource(
            citation="625 ILCS 5/6-110",
            title="Graduated License Information (Aurora, Illinois, Police Department)",
            url="https://publicsafety.aurora.il.us/Police/Education/Graduated-License-Information",
        ),
        timezones=("America/Chicago",),
    ),
    _template(
        "MD",
        "Maryland",
        "Provisional driver's license",
        applies_to="Drivers under 18",
        windows=_nightly("00:00", "05:00"),
        source=TemplateSource(
            citation="Maryland Code, Transportation § 16-113",
            title="Licensing & State Laws: Maryland (AAA)",
            url="https://teendriving.aaa.com/MD/supervised-driving/licensing-and-state-laws/",
        ),
    ),
    _template(
        "MA",
        "Massachusetts",
        "Junior operator license",
        applies_to="Drivers of 16 and a half to 17",
        windows=_nightly("00:30", "05:00"),
        source=TemplateSource(
            citation="Massachusetts General Laws c. 90 § 8",
            title="House No. 3542, An Act relative to junior operator's license, which quotes the section",
            url="https://malegislature.gov/Bills/189/H3542.Html",
        ),
    ),
    _template(
        "MI",
        "Michigan",
        "Level 2 graduated license",
        applies_to="Drivers of 16 and 17 at level 2; 10 p.m. since 2011-03-30",
        windows=_nightly("22:00", "05:00"),
        source=TemplateSource(
            citation="MCL 257.310e",
            title="The Level II Graduated License Restrictions",
            url="https://www.marklangschiedlaw.com/2013/03/29/the-level-ii-graduated-license-restrictions/",
        ),
        timezones=("America/Detroit", "America/Menominee"),
    ),
    _template(
        "NJ",
        "New Jersey",
        "Probationary driver's license",
        applies_to="Drivers under 21 with a probationary license, from 17 on",
        windows=_nightly("23:01", "05:00"),
        source=TemplateSource(
            citation="N.J.S.A. 39:3-13.4",
            title="Probationary driver's license (New Jersey Statutes, effective 2025-02-01)",
            url="https://print.casetext.com/statute/new-jersey-statutes/title-39-motor-vehicles-and-traffic-regulation/chapter-393-certain-vehicles-excepted-from-chapter/section-393-134-effective-212025-probationary-drivers-license",
        ),
    ),
    _template(
        "NY",
        "New York (upstate)",
        "Junior driver license",
        applies_to="Drivers of 16 and 17 outside New York City and Long Island, where stricter rules hold",
        windows=_nightly("21:00", "05:00"),
        source=TemplateSource(
            citation="New York Vehicle and Traffic Law § 501-b",
            title="Junior License Drivers in New York: What Are the Restrictions?",
            url="https://pappalardolaw.com/2020/11/junior-license-drivers-new-york-restrictions",
        ),
    ),
    _template(
        "NC",
        "North Carolina",
        "Level 2 limited provisional license",
        applies_to="Drivers of 16 and 17, for at least six months",
        windows=_nightly("21:00", "05:00"),
        source=TemplateSource(
            citation="N.C.G.S. § 20-11",
            title="Issuance of limited learner's permit and provisional drivers license (less than 18 years old)",
            url="http://www.laws9.com/statutes/north-carolina/Chapter_20/GS_20-11",
        ),
    ),
    _template(
        "PA",
        "Pennsylvania",
        "Junior driver's license",
        applies_to="Drivers of 16 and 17",
        windows=_nightly("23:00", "05:00"),
        source=TemplateSource(
            citation="75 Pa.C.S. § 1503",
            title="Persons ineligible for licensing; license issuance to minors; junior driver's license",
            url="http://www.laws9.com/statutes/pennsylvania/title-75/chapter-15/1503",
        ),
    ),
    _template(
        "VA",
        "Virginia",
        "Provisional driver's license",
        applies_to="Drivers under 18",
        windows=_nightly("00:00", "04:00"),
        source=TemplateSource(
            citation="Code of Virginia § 46.2-334.01",
            title="Licenses issued to persons less than 18 years old subject to certain restrictions",
            url="https://instalawyer.io/laws/code-of-virginia/462-33401-licenses-issued-to",
        ),
    ),
    _template(
        "WA",
        "Washington",
        "Intermediate driver's license",
        applies_to="Drivers of 16 and 17",
        windows=_nightly("01:00", "05:00"),
        source=TemplateSource(
            citation="RCW 46.20.075",
            title="Driving Laws (Washington State Office of the Attorney General)",
            url="https://www.atg.wa.gov/driving-laws",
        ),
        timezones=("America/Los_Angeles",),
    ),
)
